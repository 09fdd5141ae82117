//! A program in which no sibling can be forked, as under a strict seccomp filter: its processes are executed
//! instead of forked, and one event says so.

#![allow(
    unsafe_code,
    reason = "a filter of system calls has no other interface"
)]

#[path = "../deadline/mod.rs"]
mod deadline;
mod harness;
#[path = "../leftovers/mod.rs"]
mod leftovers;
mod seccomp;

fn main() {
    match harness::role() {
        Some(_) => unforkable(),
        None => harness::test(|| harness::run_in_role("unforkable").assert_success()),
    }
}

fn unforkable() {
    procession::init();
    harness::record();
    // With this variable everything is executed on purpose, so there is no event.
    let forks = std::env::var_os("PROCESSION_START_METHOD").is_none();
    seccomp::deny_siblings();
    #[cfg(feature = "tracing")]
    let warnings = events::collect();
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
        let texts = warnings.lock().expect("nothing panics under it");
        assert_eq!(texts.len(), usize::from(forks), "{texts:?}");
        assert!(
            texts
                .iter()
                .all(|text| text.contains("could not be copied"))
        );
    }
}

#[cfg(feature = "tracing")]
mod events {
    use std::fmt;
    use std::sync::{Arc, Mutex};

    use tracing::field::{Field, Visit};
    use tracing::{Event, Level, Metadata, Subscriber, span};

    type Texts = Arc<Mutex<Vec<String>>>;

    /// Collects the warnings of this crate.
    struct Collector(Texts);

    /// The fields of an event as one text.
    struct Text(String);

    impl Visit for Text {
        fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
            self.0 += &format!("{field}: {value:?} ");
        }
    }

    impl Subscriber for Collector {
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

    pub(crate) fn collect() -> Texts {
        let texts = Texts::default();
        tracing::subscriber::set_global_default(Collector(Arc::clone(&texts)))
            .expect("there is no other subscriber");
        texts
    }
}
