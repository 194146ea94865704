//! The front door's own questions to the directory: asks, waits at most a second. Knows nothing of HTTP.

use crate::operations::ToDirectory;
use crate::problem::Problem;
use crate::session::Numbers;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tidegate_types::RequestNumber;
use tidegate_types::request::{ClientId, Reply, ReplyBody, Request, RequestBody, RequestError};
use tokio::sync::{mpsc, oneshot};

/// The client that is the front door itself; sessions count from 1.
pub(crate) const ITSELF: ClientId = ClientId(0);
/// How long an operator waits.
const PATIENCE: Duration = Duration::from_secs(1);
/// How many questions may be open; then 503.
const OPEN: usize = 64;

type Answer = Result<ReplyBody, RequestError>;

/// Questions under way.
#[derive(Debug)]
pub(crate) struct Inquiries {
    to_directory: mpsc::Sender<ToDirectory>,
    numbers: Numbers,
    open: Mutex<BTreeMap<RequestNumber, oneshot::Sender<Answer>>>,
}

impl Inquiries {
    pub(crate) fn new(to_directory: mpsc::Sender<ToDirectory>, numbers: Numbers) -> Self {
        Self { to_directory, numbers, open: Mutex::default() }
    }

    /// Asks and waits.
    pub(crate) async fn ask(&self, body: RequestBody) -> Result<ReplyBody, Problem> {
        let number = self.numbers.next();
        let answer = self.open(number)?;
        let asking = async {
            let request = Request { number, client: ITSELF, body };
            self.to_directory.send(ToDirectory::Request(request)).await.ok()?;
            answer.await.ok()
        };
        let answered = tokio::time::timeout(PATIENCE, asking).await;
        self.lock().remove(&number);
        match answered {
            Ok(Some(answer)) => answer.map_err(Problem::from),
            Ok(None) => Err(Problem::unavailable("host-failed", "the host's directory is gone")),
            Err(_) => {
                Err(Problem::unavailable("no-answer", "the host's directory did not answer within 1 s"))
            }
        }
    }

    fn open(&self, number: RequestNumber) -> Result<oneshot::Receiver<Answer>, Problem> {
        let mut open = self.lock();
        if open.len() >= OPEN {
            return Err(Problem::unavailable(
                "too-many-inquiries",
                format!("{OPEN} requests are under way already"),
            ));
        }
        let (give, answer) = oneshot::channel();
        open.insert(number, give);
        Ok(answer)
    }

    /// Takes the directory's reply to one of them.
    pub(crate) fn deliver(&self, reply: Reply) {
        if let Some(give) = self.lock().remove(&reply.number) {
            // Whoever asked may have given up.
            let _ = give.send(reply.result);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<RequestNumber, oneshot::Sender<Answer>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
