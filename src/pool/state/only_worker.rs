//! A pool of one worker, which holds the only state of its kind: what a [`Managed`](crate::Managed) is made of.
//!
//! Runs in the application. It is a pool with a state like any other. It differs in what a lost worker means
//! ([`OnLoss`]), and in what a dropped call does: it never ends the worker, which belongs to other callers too.

use std::sync::Arc;

use super::state_pool::STATE_NAME;
use crate::call::single::Single;
use crate::pool::calls::run::Run;
use crate::pool::decisions::core::OnLoss;
use crate::pool::driving::initializer;
use crate::pool::options::builder::PoolBuilder;
use crate::pool::pool::Pool;
use crate::task::{Call, Keeping};

impl PoolBuilder {
    /// One worker, whose state `C` makes. The state stays when a call panics. If the worker is lost, it is replaced, or
    /// else the pool ends and its calls fail with the cause. If its first start fails, the pool ends.
    pub(crate) fn only_state<C>(mut self, arguments: C::Args, replace: bool) -> Self
    where
        C: Call<Output = Result<(), String>>,
    {
        let make = initializer::initializer::<Keeping<C>>(STATE_NAME, arguments);
        self.state = Some(make);
        self.on_loss = match replace {
            true => OnLoss::ReplaceStarted,
            false => OnLoss::End,
        };
        self.workers(1)
    }
}

impl Pool {
    /// Calls `C`. Dropping the call removes it if it waits; if it was started, it runs to its end.
    pub(crate) fn run_sparing<C: Call>(&self, arguments: C::Args) -> Run<C::Output> {
        let job = Arc::new(Single::<C>::new(arguments));
        Run::new(&self.guard, job, self.defaults()).sparing_worker()
    }

    /// How many workers have become ready for tasks so far.
    pub(crate) fn generations(&self) -> u64 {
        self.guard.shared.read(|core| core.generations)
    }
}
