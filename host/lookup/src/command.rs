//! A program that finds a value: the key on its standard input or in an argument, the value on its standard output.
//! Knows nothing of when it is run.
//!
//! It has no shell, no environment and the root folder; it ends in time or is killed with all that it started, and more
//! output than is allowed ends it, too.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process_group};
use std::io::{Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdout, Stdio};
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
        if key.contains('\0') {
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
        loop {
            if let Some(status) = self.child.try_wait().map_err(|_| LookupError::Failed)? {
                self.ended = true;
                return Ok(status.code());
            }
            if Instant::now() >= deadline {
                return Err(LookupError::Timeout);
            }
            std::thread::sleep(GLANCE);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let leader = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let (false, Some(leader)) = (self.ended, leader) {
            // Where it has ended by itself and left others behind, these are still of its group.
            let _ = kill_process_group(leader, Signal::KILL);
            let _ = self.child.wait();
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
        let pid = std::fs::read_to_string(&left).expect("it was started");
        std::fs::remove_file(&left).expect("it is there");
        // Gone, or dead and not yet waited for by whoever inherits it.
        let stat = || std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        while !stat().is_empty() && !stat().contains(") Z ") {
            assert!(began.elapsed() < LONG, "{}", stat());
            std::thread::yield_now();
        }
    }
}
