//! What a reply says about its task.

use std::sync::Arc;
use std::time::Duration;

use super::core::Core;
use super::initializer::PREPARATION;
use super::records::Place;
use crate::call::envelope::Reply;
use crate::call::job::Job;
use crate::error::{ErrorKind, JoinError};
use crate::schedule::{TaskKey, WorkerKey};

impl Core {
    /// The job a reply is for, unless nobody waits for it, and how many of the outcomes in it count.
    pub(super) fn reply(&mut self, worker: WorkerKey, head: &Reply) -> Option<(Arc<dyn Job>, u32)> {
        if head.task == PREPARATION {
            let it = self.workers.get(worker)?.as_ref()?;
            let preparation = Arc::clone(it.preparation.as_ref()?);
            return Some((preparation.into_job(), head.count));
        }
        let now = self.now;
        let record = self.records.get_mut(head.task)?;
        let items = record.job.items();
        let end = (head.first as usize).saturating_add(head.count as usize);
        let Place::Sent {
            worker: sent_to,
            received,
            ..
        } = &mut record.place
        else {
            return None;
        };
        if *sent_to != worker || head.first as usize != *received || end > items {
            return None;
        }
        *received = end;
        record.ran += Duration::from_nanos(head.run_nanos);
        let job = Arc::clone(&record.job);
        if head.last {
            self.finish(worker, head.task, end);
        } else {
            self.schedule.progress(worker, head.task, items - end, now);
        }
        let doomed = head.count > 0 && end == items && self.reprieve(worker, head.task, &job);
        Some((job, head.count - u32::from(doomed)))
    }

    fn finish(&mut self, worker: WorkerKey, key: TaskKey, received: usize) {
        let Some(record) = self.records.remove(key) else {
            return;
        };
        self.schedule.finished(worker, key, record.ran, self.now);
        let waited = self.now.since(record.submitted).saturating_sub(record.ran);
        self.counts.run_time.add(record.ran);
        self.counts.wait_time.add(waited);
        let missing = record.job.items().saturating_sub(received);
        if missing > 0 {
            let error = JoinError::new(ErrorKind::Decode, record.job.name())
                .because("its worker left it out")
                .after_start(true);
            self.end(&record.job, received, missing, error);
        }
        if let Some(it) = self.workers[worker].as_mut() {
            it.done += 1;
            if !std::mem::replace(&mut it.proven, true) {
                self.breaker.succeeded();
            }
        }
        self.discard(record);
    }

    /// A doomed task that ends by itself, within its grace, saves its worker. The item that was
    /// running, which is the job's last since the others were taken back, has its error all the same.
    fn reprieve(&mut self, worker: WorkerKey, key: TaskKey, job: &Arc<dyn Job>) -> bool {
        let Some(it) = self.workers[worker].as_mut() else {
            return false;
        };
        let Some(doom) = it.doom.take_if(|doom| doom.task == key && !doom.done) else {
            return false;
        };
        let mut error = JoinError::new(doom.kind, job.name()).after_start(true);
        if let Some(pid) = it.pid() {
            error = error.in_process(pid);
        }
        if let Some(record) = self.records.get_mut(key) {
            record.options.timeout = None;
        }
        self.schedule.ready(worker, self.now);
        self.end(job, job.items() - 1, 1, error);
        true
    }
}
