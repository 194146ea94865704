//! A program that finds a value: the key on its standard input or in an argument, the value on its standard output.
//! Knows nothing of when it is run.
//!
//! It has no shell, no environment and the root folder; it ends in time or is killed, and more output than is allowed ends
//! it, too. What it started ends with it, however it ended. No key is taken for an option.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use std::io::{Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdout, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tidegate_types::decision::LookupError;

/// Where the key stands among the arguments.
const PLACE: &str = "{key}";
/// How long a program that closed its output may take to end until it is looked at again.
const GLANCE: Duration = Duration::from_millis(1);
/// What is read at once, in bytes.
const READ_BYTES: usize = 4 << 10;

/// A program and its arguments.
#[derive(Clone, Debug)]
pub(crate) struct Command {
    /// The program's whole path, then its arguments. Where none has a place for the key, it goes to standard input.
    pub(crate) program: Vec<String>,
    pub(crate) most_bytes: usize,
}

impl Command {
    /// Runs it, and blocks until it has ended or `deadline` is over.
    pub(crate) fn run(&self, key: &str, deadline: Instant) -> Result<Vec<u8>, LookupError> {
        if key.contains('\0') || key.starts_with('-') && self.takes_options_from_keys() {
            return Err(LookupError::BadKey);
        }
        let mut running = self.start(key)?;
        let output = running.child.stdout.take().ok_or(LookupError::Failed)?;
        let mut value = self.read(output, deadline)?;
        match running.end(deadline)? {
            Some(0) => {}
            Some(code) => return Err(LookupError::Exit(u8::try_from(code).unwrap_or(u8::MAX))),
            None => return Err(LookupError::Failed),
        }
        // As a shell's $(…) does it, but for one line's end only.
        if value.last() == Some(&b'\n') {
            value.pop();
        }
        Ok(value)
    }

    /// An argument begins with the key, and none before it says that options end there.
    fn takes_options_from_keys(&self) -> bool {
        let mut arguments = self.program.iter().skip(1).take_while(|argument| *argument != "--");
        arguments.any(|argument| argument.starts_with(PLACE))
    }

    fn start(&self, key: &str) -> Result<Running, LookupError> {
        let (program, arguments) = self.program.split_first().ok_or(LookupError::Unreachable)?;
        let in_arguments = arguments.iter().any(|argument| argument.contains(PLACE));
        let mut command = std::process::Command::new(program);
        command.args(arguments.iter().map(|argument| argument.replace(PLACE, key)));
        command.env_clear().current_dir("/").process_group(0);
        command.stdin(if in_arguments { Stdio::null() } else { Stdio::piped() });
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(|_| LookupError::Unreachable)?;
        if let Some(mut input) = child.stdin.take() {
            // A key fits into any pipe, so this does not wait; who does not read it has closed it.
            let _ = input.write_all(key.as_bytes());
        }
        Ok(Running { child, ended: false })
    }

    fn read(&self, mut output: ChildStdout, deadline: Instant) -> Result<Vec<u8>, LookupError> {
        let (mut value, mut piece) = (Vec::new(), [0; READ_BYTES]);
        loop {
            wait(&output, deadline)?;
            let count = output.read(&mut piece).map_err(|_| LookupError::Failed)?;
            if count == 0 {
                return Ok(value);
            }
            if value.len() + count > self.most_bytes {
                return Err(LookupError::TooLarge);
            }
            value.extend_from_slice(&piece[..count]);
        }
    }
}

/// Waits until there is something to read, or the end.
fn wait(output: &ChildStdout, deadline: Instant) -> Result<(), LookupError> {
    loop {
        let left = deadline.checked_duration_since(Instant::now()).ok_or(LookupError::Timeout)?;
        let left = Timespec::try_from(left).map_err(|_| LookupError::Failed)?;
        match poll(&mut [PollFd::new(output, PollFlags::IN)], Some(&left)) {
            Ok(0) => return Err(LookupError::Timeout),
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(_) => return Err(LookupError::Failed),
        }
    }
}

/// A program that runs. It ends with this, and so does all that it started.
struct Running {
    child: Child,
    /// It was waited for: its number may be another's.
    ended: bool,
}

impl Running {
    /// Waits for its end; its exit code, if it was not killed.
    fn end(&mut self, deadline: Instant) -> Result<Option<i32>, LookupError> {
        let looks = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        loop {
            // It is not waited for before its group is killed: until then its number is nobody else's.
            let leader = self.leader().ok_or(LookupError::Failed)?;
            if waitid(WaitId::Pid(leader), looks).map_err(|_| LookupError::Failed)?.is_some() {
                return self.kill().map(|status| status.code()).map_err(|_| LookupError::Failed);
            }
            if Instant::now() >= deadline {
                return Err(LookupError::Timeout);
            }
            std::thread::sleep(GLANCE);
        }
    }

    fn leader(&self) -> Option<Pid> {
        i32::try_from(self.child.id()).ok().and_then(Pid::from_raw)
    }

    /// Ends it and all that it started; how it ended, if it had already.
    fn kill(&mut self) -> std::io::Result<ExitStatus> {
        if let Some(leader) = self.leader() {
            // It fails where nobody is left.
            let _ = kill_process_group(leader, Signal::KILL);
        }
        self.ended = true;
        self.child.wait()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.ended {
            // Its end tells nothing any more.
            let _ = self.kill();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Command, LookupError};
    use std::time::{Duration, Instant};

    const LONG: Duration = Duration::from_secs(20);

    fn shell(script: &str, key: &str, time: Duration) -> Result<String, LookupError> {
        let program = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
        let found = Command { program, most_bytes: 1_000 }.run(key, Instant::now() + time);
        found.map(|bytes| String::from_utf8(bytes).expect("text"))
    }

    #[test]
    fn the_key_comes_on_standard_input_or_in_an_argument_and_no_environment() {
        assert_eq!(shell("cat", "a key; rm -rf / $(x)", LONG), Ok("a key; rm -rf / $(x)".into()));
        let program = ["/bin/echo", "--", "<{key}>"].map(str::to_owned).to_vec();
        let found = Command { program, most_bytes: 100 }.run("$HOME `id`", Instant::now() + LONG);
        assert_eq!(found, Ok(b"-- <$HOME `id`>".to_vec()));
        assert_eq!(shell("echo \"$HOME|$USER|$(pwd)\"", "", LONG), Ok("||/".into()));
        assert_eq!(shell("cat", "a\0b", LONG), Err(LookupError::BadKey));
    }

    #[test]
    fn what_goes_wrong_has_a_name() {
        assert_eq!(shell("exit 3", "", LONG), Err(LookupError::Exit(3)));
        assert_eq!(shell("kill -9 $$", "", LONG), Err(LookupError::Failed));
        assert_eq!(shell("yes", "", LONG), Err(LookupError::TooLarge));
        let program = vec!["/nowhere/program".to_owned()];
        let none = Command { program, most_bytes: 1 }.run("", Instant::now() + LONG);
        assert_eq!(none, Err(LookupError::Unreachable));
    }

    #[test]
    fn one_that_takes_too_long_is_killed_with_all_that_it_started() {
        let left = std::env::temp_dir().join(format!("tidegate-lookup-{}", std::process::id()));
        let script = format!("sleep 1000 & echo $! > {}; wait", left.display());
        let began = Instant::now();
        assert_eq!(shell(&script, "", Duration::from_secs(2)), Err(LookupError::Timeout));
        assert!(began.elapsed() < LONG);
        assert_gone(&left, began);
    }

    #[test]
    fn what_it_leaves_behind_ends_with_it() {
        let left = std::env::temp_dir().join(format!("tidegate-left-{}", std::process::id()));
        let script = format!("sleep 1000 >/dev/null & echo $! > {}; echo found", left.display());
        assert_eq!(shell(&script, "", LONG), Ok("found".into()));
        assert_gone(&left, Instant::now());
    }

    #[test]
    fn a_key_is_no_option() {
        let ask = |arguments: &[&str], key: &str| {
            let program = ["/bin/echo"].iter().chain(arguments).map(|one| (*one).to_owned()).collect();
            Command { program, most_bytes: 100 }.run(key, Instant::now() + LONG)
        };
        assert_eq!(ask(&["{key}"], "-n"), Err(LookupError::BadKey));
        assert_eq!(ask(&["{key}"], "n"), Ok(b"n".to_vec()));
        assert_eq!(ask(&["--", "{key}"], "-n"), Ok(b"-- -n".to_vec()));
        assert_eq!(ask(&["key={key}"], "-n"), Ok(b"key=-n".to_vec()));
    }

    /// The process whose number stands in the file is gone, or dead and not yet waited for by whoever inherits it.
    fn assert_gone(file: &std::path::Path, began: Instant) {
        let pid = std::fs::read_to_string(file).expect("it was started");
        std::fs::remove_file(file).expect("it is there");
        let stat = || std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        while !stat().is_empty() && !stat().contains(") Z ") {
            assert!(began.elapsed() < LONG, "{}", stat());
            std::thread::yield_now();
        }
    }
}
