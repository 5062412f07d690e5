//! What an alert speaks about, the most exact first, without repeats.

use crate::domain::resource_id::ResourceId;

use super::{
    alert_context::Context,
    fields::{ENTRIES_MAX, TEXT_CHARS_MAX},
};

/// Ids as they were written, in order of exactness.
#[derive(Debug, Default)]
pub(super) struct Resources(Vec<String>);

impl Resources {
    /// An id that the publisher itself names as the target: kept even if it does not parse, which makes it an unknown target.
    pub(super) fn named(mut self, ids: impl IntoIterator<Item = String>) -> Self {
        ids.into_iter().for_each(|id| self.add(id));
        self
    }

    /// Texts of which only Azure resource ids count.
    pub(super) fn if_ids<'a>(mut self, texts: impl IntoIterator<Item = &'a str>) -> Self {
        for text in texts {
            if ResourceId::parse(text).is_ok() {
                self.add(text.to_owned());
            }
        }
        self
    }

    pub(super) fn into_list(self) -> Vec<String> {
        self.0
    }

    fn add(&mut self, id: String) {
        let bare = |id: &str| id.strip_suffix('/').unwrap_or(id).to_ascii_lowercase();
        if self.0.len() < ENTRIES_MAX
            && id.chars().count() <= TEXT_CHARS_MAX
            && !self.0.iter().any(|other| bare(other) == bare(&id))
        {
            self.0.push(id);
        }
    }
}

/// Everything of a common alert, or of a legacy one that has the same parts.
pub(super) fn in_order(context: &Context, configuration_items: &[&str], targets: &[String]) -> Vec<String> {
    // Dimensions and result rows come from logged data, which many may write: they count only inside the target's subscription.
    let subscription = targets.iter().find_map(|id| ResourceId::parse(id).ok()).map(|id| id.subscription().to_ascii_lowercase());
    let trusted = |text: &&str| {
        ResourceId::parse(text)
            .is_ok_and(|id| subscription.as_ref().is_some_and(|target| *target == id.subscription().to_ascii_lowercase()))
    };
    Resources::default()
        .if_ids(context.dimension_ids.iter().map(String::as_str).filter(trusted))
        .if_ids(context.label_ids.iter().map(String::as_str))
        .if_ids(configuration_items.iter().copied())
        .named(targets.iter().cloned())
        .if_ids(context.other_ids.iter().map(String::as_str))
        .if_ids(context.row_ids.iter().map(String::as_str).filter(trusted))
        .into_list()
}
