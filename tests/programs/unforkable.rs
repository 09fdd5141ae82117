//! A program in which no process can be forked, as under a filter of system calls: its processes are executed, and
//! one event says so.

#![allow(
    unsafe_code,
    reason = "a filter of system calls has no other interface"
)]

#[path = "../deadline/mod.rs"]
mod deadline;
mod harness;
#[path = "../leftovers/mod.rs"]
mod leftovers;

fn main() {
    match harness::role() {
        Some(_) => unforkable(),
        None => harness::test(|| harness::play("unforkable").assert_well()),
    }
}

fn unforkable() {
    procession::init();
    harness::record();
    // Where everything is executed on purpose, there is nothing to tell.
    let forks = std::env::var_os("PROCESSION_START_METHOD").is_none();
    deny_clone3();
    #[cfg(feature = "tracing")]
    let warnings = events::hear();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be built");
    runtime.block_on(async {
        for n in 0..3 {
            let outcome = deadline::within(procession::spawn(|n: i32| n + 1, n)).await;
            assert_eq!(outcome.expect("it is executed"), n + 1);
        }
        let pool = procession::Pool::builder()
            .workers(2)
            .build()
            .expect("there is memory");
        let outcomes = deadline::within(pool.map(|n: u32| n * 2, 0..100)).await;
        assert_eq!(outcomes.expect("they are executed").len(), 100);
        deadline::within(pool.shutdown()).await;
        assert_eq!(procession::warm_up().await.is_err(), forks);
    });
    #[cfg(feature = "tracing")]
    {
        let heard = warnings.lock().expect("nothing panics under it");
        assert_eq!(heard.len(), usize::from(forks), "{heard:?}");
        assert!(
            heard
                .iter()
                .all(|text| text.contains("could not be copied"))
        );
    }
}

/// From here on the call that forks does not exist, in this process and in all it starts (`seccomp(2)`). The C
/// library then starts threads with another.
fn deny_clone3() {
    let instruction = |code: u32, jt, jf, k| libc::sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    };
    let load = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    let equal = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    let give_back = libc::BPF_RET | libc::BPF_K;
    let mut program = [
        // The number of the call is the first word.
        instruction(load, 0, 0, 0),
        instruction(equal, 0, 1, libc::SYS_clone3 as u32),
        instruction(
            give_back,
            0,
            0,
            libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32,
        ),
        instruction(give_back, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let filter = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: integers.
    let alone = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    // SAFETY: the program lives until the call returns, and its length is given.
    let filtered = unsafe {
        libc::prctl(
            libc::PR_SET_SECCOMP,
            libc::SECCOMP_MODE_FILTER,
            &raw const filter,
        )
    };
    assert_eq!((alone, filtered), (0, 0));
}

#[cfg(feature = "tracing")]
mod events {
    use std::fmt;
    use std::sync::{Arc, Mutex};

    use tracing::field::{Field, Visit};
    use tracing::{Event, Level, Metadata, Subscriber, span};

    type Texts = Arc<Mutex<Vec<String>>>;

    /// Keeps the warnings of this crate.
    struct Keeper(Texts);

    /// The fields of an event, one behind the other.
    struct Text(String);

    impl Visit for Text {
        fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
            self.0 += &format!("{field}: {value:?} ");
        }
    }

    impl Subscriber for Keeper {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            *metadata.level() == Level::WARN && metadata.target().starts_with("procession")
        }

        fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
            span::Id::from_u64(1)
        }

        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

        fn event(&self, event: &Event<'_>) {
            let mut text = Text(String::new());
            event.record(&mut text);
            let mut texts = self.0.lock().expect("nothing panics under it");
            texts.push(text.0);
        }

        fn enter(&self, _: &span::Id) {}

        fn exit(&self, _: &span::Id) {}
    }

    pub(crate) fn hear() -> Texts {
        let texts = Texts::default();
        tracing::subscriber::set_global_default(Keeper(Arc::clone(&texts)))
            .expect("nobody else listens");
        texts
    }
}
