//! The built program, as a command or behind an emulated host. All that it prints is searched ([`super::leaks`]).

use std::{
    ffi::OsStr,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{Arc, mpsc},
    thread,
};

use backout::sim::host::{HandlerLine, HostEmulator, HostOptions, HostProblem};

use super::leaks::search;

/// One run of the program, not begun yet.
pub struct Program(Command);

impl Program {
    pub fn new<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_backout"));
        command.args(arguments);
        Self(command)
    }

    pub fn in_folder(mut self, folder: &Path) -> Self {
        self.0.current_dir(folder);
        self
    }

    /// Beside this process's own environment.
    pub fn with<N: AsRef<OsStr>, V: AsRef<OsStr>>(mut self, settings: impl IntoIterator<Item = (N, V)>) -> Self {
        self.0.envs(settings);
        self
    }

    /// Nothing of this process's own environment.
    pub fn without_environment(mut self) -> Self {
        self.0.env_clear();
        self
    }

    pub fn run(mut self) -> Output {
        let output = self.0.output().unwrap();
        for stream in [&output.stdout, &output.stderr] {
            search("the output of a command", &String::from_utf8_lossy(stream));
        }
        output
    }

    /// [`Self::run`] while other tasks go on.
    pub async fn ran(self) -> Output {
        tokio::task::spawn_blocking(move || self.run()).await.unwrap()
    }

    /// Starts it, to go on until it is killed. The lines of its stdout come as it prints them.
    pub fn start(mut self) -> (Child, mpsc::Receiver<String>) {
        let mut child = self.0.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = mpsc::channel();
        search_lines(child.stdout.take().unwrap(), Some(sender));
        search_lines(child.stderr.take().unwrap(), None);
        (child, lines)
    }
}

/// Starts `backout serve` behind an emulated host; settings and the rest as `options` say.
pub async fn handler(options: HostOptions) -> Result<HostEmulator, HostProblem> {
    host(HostOptions { executable: Some(PathBuf::from(env!("CARGO_BIN_EXE_backout"))), ..options }).await
}

/// Starts whatever `options` name behind an emulated host.
pub async fn host(options: HostOptions) -> Result<HostEmulator, HostProblem> {
    let own = options.on_line;
    let on_line = move |line: &HandlerLine| {
        search("what the handler printed", &line.text);
        if let Some(own) = &own {
            own(line);
        }
    };
    HostEmulator::start(HostOptions { on_line: Some(Arc::new(on_line)), ..options }).await
}

fn search_lines(stream: impl Read + Send + 'static, sender: Option<mpsc::Sender<String>>) {
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            search("what `backout` printed", &line);
            if let Some(sender) = &sender {
                // Nobody listens any more.
                let _ = sender.send(line);
            }
        }
    });
}
