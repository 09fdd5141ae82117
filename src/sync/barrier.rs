//! A place at which a number of parties meet.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::barrier_serving;
use super::enrolment::Enrolment;
use super::error::Broken;
use super::handle::handle_of;
use super::local_side::LocalSide;
use super::object_kind::ObjectKind;
use super::object_memory::MOST_PARTIES;
use super::party_word::PartyState;
use super::waiting::{Asked, Waiting, block};

/// A place at which a number of tasks, threads and processes wait for each other, as `tokio::sync::Barrier` is for
/// tasks.
///
/// A handle can be cloned, and sent to another process inside an argument, a result or a message; all handles are the
/// same barrier. When the last party of the number arrives, all of them continue, and the barrier can be used again.
///
/// A party that stops waiting, because its future was dropped, has not arrived: the others wait for another. A process
/// that ends while a party of it waits breaks the barrier: all that wait, and all that come, get [`Broken`], until
/// [`reset`](Self::reset).
///
/// ```
/// # #[procession::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use procession::sync::Barrier;
///
/// async fn step(barrier: Barrier) -> bool {
///     barrier.wait().await.unwrap().is_leader()
/// }
///
/// let barrier = Barrier::new(2)?;
/// let other = procession::spawn(step, barrier.clone());
/// let is_leader = barrier.wait().await?.is_leader();
/// assert!(is_leader != other.await?);
/// # Ok(())
/// # }
/// ```
pub struct Barrier {
    side: Arc<LocalSide>,
}

/// What a party learns when the barrier releases it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BarrierWaitResult(bool);

impl BarrierWaitResult {
    /// Whether this party arrived last, of all that continue together.
    pub fn is_leader(&self) -> bool {
        self.0
    }
}

impl Barrier {
    /// Makes a barrier for `parties` parties. 0 is taken as 1, as in Tokio.
    ///
    /// # Errors
    ///
    /// There are more than 4096 parties, the kernel has no memory or descriptors left, or this process has no `/proc`.
    pub fn new(parties: usize) -> io::Result<Self> {
        if parties > MOST_PARTIES {
            let why = format!("a barrier has at most {MOST_PARTIES} parties");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        let side = LocalSide::create(ObjectKind::Barrier, parties.max(1) as u64, 0)?;
        Ok(Self { side })
    }

    /// Waits until as many parties wait as the barrier is for.
    ///
    /// # Errors
    ///
    /// A process has ended while a party of it waited, or the barrier was aborted or reset.
    ///
    /// # Cancel safety
    ///
    /// Dropped before the last party has arrived, it has not arrived either.
    pub fn wait(
        &self,
    ) -> impl Future<Output = Result<BarrierWaitResult, Broken>> + Send + Unpin + use<'_> {
        Arriving {
            side: &self.side,
            waiting: Waiting::new(&self.side),
        }
    }

    /// As [`wait`](Self::wait), blocking this thread. Not for async code.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    pub fn blocking_wait(&self) -> Result<BarrierWaitResult, Broken> {
        block(&self.side, asked, |party| attempt(&self.side, party))
    }

    /// Breaks the barrier: all that wait, and all that come, get [`Broken`], until [`reset`](Self::reset).
    pub fn abort(&self) {
        barrier_serving::abort(&self.side);
    }

    /// Makes the barrier as new. All that wait get [`Broken`].
    pub fn reset(&self) {
        barrier_serving::reset(&self.side);
    }

    /// Whether the barrier is broken.
    #[doc(alias = "broken")]
    pub fn is_broken(&self) -> bool {
        self.side.serve(true);
        barrier_serving::is_broken(&self.side)
    }
}

fn asked() -> Asked {
    Asked { kind: 0, amount: 0 }
}

fn attempt(
    side: &LocalSide,
    party: &mut Option<Enrolment>,
) -> Option<Result<BarrierWaitResult, Broken>> {
    let Some(enrolment) = party else {
        return barrier_serving::is_broken(side).then_some(Err(Broken(())));
    };
    let passed = match enrolment.state() {
        Some(PartyState::Waiting | PartyState::Claimed) => return None,
        Some(PartyState::Granted) => Ok(BarrierWaitResult(false)),
        Some(PartyState::GrantedFirst) => Ok(BarrierWaitResult(true)),
        // Refused, or the record was overwritten.
        _ => Err(Broken(())),
    };
    *party = None;
    Some(passed)
}

/// Ready when all have arrived.
struct Arriving<'a> {
    side: &'a Arc<LocalSide>,
    waiting: Waiting<'a>,
}

impl Future for Arriving<'_> {
    type Output = Result<BarrierWaitResult, Broken>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let side = self.side;
        self.waiting.poll(cx, asked, |party| attempt(side, party))
    }
}

handle_of!(Barrier, ObjectKind::Barrier);

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Barrier")
            .field("parties", &self.side.memory.parameter())
            .field("is_broken", &barrier_serving::is_broken(&self.side))
            .finish()
    }
}
