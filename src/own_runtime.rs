//! A runtime of the crate's own, on one thread.
//!
//! Runs in every process, for what waits where no Tokio runtime is, or in a runtime that is not driven. The thread is
//! started when it is needed, and ends when the runtime was not needed for a while.
//!
//! Must stay true: the runtime is driven for as long as there is a [`Stay`]. A fork of the application has no such
//! thread, and starts one of its own.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project::pin_project;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::time::Sleep;

/// How long the runtime must not have been needed before it ends.
const UNNEEDED_FOR: Duration = Duration::from_secs(2);

/// The runtime, while it is driven.
struct Driven {
    /// Its clones are the stays.
    stay: Stay,
    /// How many stays there have been.
    stays: u64,
    /// The process that has the thread.
    pid: u32,
}

static DRIVEN: Mutex<Option<Driven>> = Mutex::new(None);

/// Keeps the crate's own runtime driven.
#[derive(Debug, Clone)]
pub(crate) struct Stay {
    handle: Handle,
    count: Arc<()>,
}

impl Stay {
    /// The crate's own runtime.
    pub(crate) fn runtime(&self) -> &Handle {
        &self.handle
    }
}

/// Has the crate's own runtime driven until the stay is dropped.
///
/// # Errors
///
/// The kernel has no thread or no descriptors for it.
pub(crate) fn stay() -> io::Result<Stay> {
    let mut driven = lock();
    let pid = std::process::id();
    if let Some(driven) = driven.as_mut().filter(|it| it.pid == pid) {
        driven.stays += 1;
        return Ok(driven.stay.clone());
    }
    let stay = start()?;
    *driven = Some(Driven {
        stay: stay.clone(),
        stays: 1,
        pid,
    });
    Ok(stay)
}

/// A timer of the current runtime, or of the crate's own where there is none.
#[pin_project]
#[derive(Debug)]
pub(crate) struct Timer {
    /// `None` if there is no runtime.
    #[pin]
    sleep: Option<Sleep>,
    has_yielded: bool,
    _stay: Option<Stay>,
}

impl Timer {
    pub(crate) fn after(time: Duration) -> Self {
        let (runtime, stay) = match Handle::try_current() {
            Ok(runtime) => (Some(runtime), None),
            Err(_) => {
                let stay = stay().ok();
                (stay.as_ref().map(|stay| stay.runtime().clone()), stay)
            }
        };
        let sleep = runtime.map(|runtime| {
            let _entered = runtime.enter();
            tokio::time::sleep(time)
        });
        Self {
            sleep,
            has_yielded: false,
            _stay: stay,
        }
    }
}

impl Future for Timer {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        if let Some(sleep) = this.sleep.as_pin_mut() {
            return sleep.poll(cx);
        }
        if *this.has_yielded {
            return Poll::Ready(());
        }
        *this.has_yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

fn start() -> io::Result<Stay> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let stay = Stay {
        handle: runtime.handle().clone(),
        count: Arc::new(()),
    };
    let runtime = Arc::new(Mutex::new(Some(runtime)));
    let moved = Arc::clone(&runtime);
    let thread = std::thread::Builder::new().name("procession-wait".to_owned());
    let started = thread.spawn(move || {
        if let Some(runtime) = take(&moved) {
            runtime.block_on(until_unneeded());
        }
    });
    if let Err(error) = started {
        // A runtime that is dropped waits for its threads, which is not allowed in another runtime.
        if let Some(runtime) = take(&runtime) {
            runtime.shutdown_background();
        }
        return Err(error);
    }
    Ok(stay)
}

fn take(runtime: &Mutex<Option<Runtime>>) -> Option<Runtime> {
    let mut runtime = runtime.lock().unwrap_or_else(PoisonError::into_inner);
    runtime.take()
}

/// Resolves when there was no stay for a while. The next stay starts another runtime.
async fn until_unneeded() {
    let mut seen = 0;
    loop {
        tokio::time::sleep(UNNEEDED_FOR).await;
        let mut driven = lock();
        let Some(now) = driven.as_ref() else {
            return;
        };
        let is_needed = Arc::strong_count(&now.stay.count) > 1 || now.stays != seen;
        seen = now.stays;
        if !is_needed {
            *driven = None;
            return;
        }
    }
}

fn lock() -> MutexGuard<'static, Option<Driven>> {
    DRIVEN.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runtime_is_driven_while_there_is_a_stay() {
        let stay = stay().unwrap();
        let (tell, told) = std::sync::mpsc::channel();
        stay.runtime().spawn(async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            tell.send(Handle::current().id()).unwrap();
        });
        assert_eq!(told.recv().unwrap(), stay.runtime().id());
    }
}
