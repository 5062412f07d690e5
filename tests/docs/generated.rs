//! Pages made from the list of settings and from the parameters of the infrastructure.

use std::fmt::Write as _;

use backout::settings::names::{ALL, SetBy, SettingDoc};

use super::held;
use crate::tidy::sources::text_files;

const SETTINGS: &str = "# Settings

<!-- Made from the program's own list by `UPDATE_PAGES=1 cargo test docs::`. Change it there. -->

Every setting is an environment variable; in Azure, an app setting of the function app. `infra/` sets those that a deployment needs;
further ones go into its parameter `policySettings`, and a value that is a secret should be a Key Vault reference there. To look at one
change without a deployment:

    az functionapp config appsettings set --resource-group GROUP --name APP --settings BACKOUT_MODE=observe

(the next deployment of `infra/` writes its own list again). On one machine, set them in the shell, or copy
`local.settings.sample.json` for the Functions host. `backout check --offline` says what is wrong with them. Settings that the policy
names (`urlFrom`, `tokenFrom`) have the names that you give them there.
";

fn chapter(page: &mut String, title: &str, about: &str, set_by: SetBy) {
    let _ = write!(page, "\n## {title}\n\n{about}\n");
    for SettingDoc { name, docs, default, secret, .. } in ALL.iter().filter(|setting| setting.set_by == set_by) {
        let secret = if *secret { " A secret: it is never shown." } else { "" };
        let default = default.replace(';', ",");
        let _ = write!(page, "\n### `{name}`\n\n{docs}{secret} Default: {default}.\n");
    }
}

#[test]
fn the_page_of_settings_is_what_the_program_says() {
    let mut page = SETTINGS.to_owned();
    chapter(&mut page, "Yours", "What an operator sets.", SetBy::Operator);
    chapter(
        &mut page,
        "The Functions host's",
        "Set by the host for the process that it starts; a value of yours would only break it.",
        SetBy::Host,
    );
    chapter(&mut page, "The platform's", "Set by App Service and Functions for every app.", SetBy::Platform);
    assert_eq!(page.matches("\n### `").count(), ALL.len());
    held("docs/settings.md", &page);
}

const PARAMETERS: &str = "# Parameters of `infra/`

<!-- Made from `infra/main.bicep` by `UPDATE_PAGES=1 cargo test docs::`. Change it there. -->

Written in `infra/main.bicepparam`, or given on the command line (`--parameters NAME=VALUE`). What they cost: [costs](costs.md); what they
grant: [permissions](permissions.md).
";

/// One parameter of `main.bicep`.
struct Parameter {
    name: String,
    type_name: String,
    default: Option<String>,
    docs: String,
    allowed: Vec<String>,
    chapter: String,
}

fn parameters(main: &str) -> Vec<Parameter> {
    let mut found = Vec::new();
    let (mut docs, mut chapter, mut allowed) = (String::new(), String::new(), Vec::new());
    let mut in_allowed = false;
    for line in main.lines() {
        if let Some(title) = line.strip_prefix("// Parameters: ") {
            title.clone_into(&mut chapter);
        } else if let Some(text) = line.strip_prefix("@description('") {
            docs = text.strip_suffix("')").expect("a description ends on its line").replace("\\'", "'");
        } else if line == "@allowed([" {
            in_allowed = true;
        } else if line == "])" {
            in_allowed = false;
        } else if in_allowed {
            allowed.push(line.trim().trim_matches('\'').to_owned());
        } else if let Some(declared) = line.strip_prefix("param ") {
            let (head, default) = declared.split_once(" = ").map_or((declared, None), |(head, value)| (head, Some(value)));
            let (name, type_name) = head.split_once(' ').unwrap();
            found.push(Parameter {
                name: name.to_owned(),
                type_name: type_name.to_owned(),
                default: default.map(str::to_owned),
                docs: std::mem::take(&mut docs),
                allowed: std::mem::take(&mut allowed),
                chapter: chapter.clone(),
            });
        }
    }
    found
}

/// `type NAME = 'a' | 'b'` -> its words.
fn words_of_type(main: &str, name: &str) -> Option<Vec<String>> {
    let line = main.lines().find_map(|line| line.strip_prefix(&format!("type {name} = '"))?.strip_suffix('\''))?;
    Some(line.split("' | '").map(str::to_owned).collect())
}

fn value(main: &str, type_name: &str, allowed: &[String]) -> String {
    let words = if allowed.is_empty() { words_of_type(main, type_name).unwrap_or_default() } else { allowed.to_vec() };
    match (words.as_slice(), type_name) {
        ([], "string") => "text".to_owned(),
        ([], "string[]") => "list of text".to_owned(),
        ([], "bool") => "`true`, `false`".to_owned(),
        ([], "int") => "number".to_owned(),
        ([], "object") => "names with text".to_owned(),
        ([], "targetResource[]") => "list of [targets](#an-entry-of-targets)".to_owned(),
        ([], other) => panic!("no words for the type `{other}`"),
        (words, _) => words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", "),
    }
}

/// What a default means to somebody who does not read Bicep.
fn default_words(default: Option<&str>) -> String {
    match default {
        None => "**required**".to_owned(),
        Some("''" | "[]" | "{}") => "empty".to_owned(),
        Some(made) if made.contains("newGuid") => "made anew".to_owned(),
        Some(made) => {
            let made = made.trim_matches('\'').replace("${uniqueString(subscription().id, environmentName, location)}", "HASH");
            format!("`{}`", made.replace("${environmentName}", "NAME"))
        }
    }
}

/// The keys of `type targetResource`, each with the comment above it.
fn target_keys(main: &str) -> Vec<(String, String, bool, String)> {
    let (_, body) = main.split_once("type targetResource = {\n").unwrap();
    let (body, _) = body.split_once("\n}\n").unwrap();
    let mut found = Vec::new();
    let mut comment: Vec<&str> = Vec::new();
    for line in body.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("// ") {
            comment.push(text);
        } else if let Some((key, type_name)) = line.split_once(": ") {
            let optional = type_name.ends_with('?');
            found.push((key.to_owned(), type_name.trim_end_matches('?').to_owned(), optional, comment.join(" ")));
            comment.clear();
        }
    }
    found
}

#[test]
fn the_page_of_parameters_is_what_the_infrastructure_declares() {
    let files = text_files("infra");
    let main = &files.iter().find(|file| file.path == "infra/main.bicep").unwrap().text;
    let all = parameters(main);
    assert_eq!(all.len(), main.lines().filter(|line| line.starts_with("param ")).count());
    let mut page = PARAMETERS.to_owned();
    let mut chapter = "";
    for parameter in &all {
        assert!(!parameter.docs.is_empty(), "`{}` explains itself", parameter.name);
        if parameter.chapter != chapter {
            chapter = &parameter.chapter;
            let title = chapter.chars().next().unwrap().to_uppercase().chain(chapter.chars().skip(1)).collect::<String>();
            let _ = write!(page, "\n## {title}\n\n| parameter | value | default | meaning |\n|---|---|---|---|\n");
        }
        let Parameter { name, type_name, default, docs, allowed, .. } = parameter;
        let value = value(main, type_name, allowed);
        let _ = writeln!(page, "| `{name}` | {value} | {} | {docs} |", default_words(default.as_deref()));
    }
    page.push_str("\n## An entry of `targets`\n\n| key | value | default | meaning |\n|---|---|---|---|\n");
    for (key, type_name, optional, meaning) in target_keys(main) {
        assert!(!meaning.is_empty(), "`{key}` explains itself");
        let default = match (optional, type_name.as_str()) {
            (false, _) => "**required**",
            (true, "bool") => "`false`",
            (true, _) => "empty",
        };
        let _ = writeln!(page, "| `{key}` | {} | {default} | {meaning} |", value(main, &type_name, &[]));
    }
    held("docs/parameters.md", &page);
}
