//! The shared memory of an object: words, the table of parties, and two places for the value.
//!
//! What must stay true: every word is an atomic, and what another process wrote is checked before it is used as an
//! index. Never here: the order in which a protocol reads and writes the words.

use std::io;
use std::num::NonZeroU32;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

use super::object_kind::ObjectKind;
use super::party_word::{PartyRequest, PartyState, PartyWord};
use crate::lock::{Holder, SharedLock};
use crate::sys::memory;
use crate::sys::memory::Mapping;

/// How many parties an object has at most: waiters and, where the object says so, holders.
pub(super) const MOST_PARTIES: usize = 4096;

/// The largest value, in bytes.
const MOST_VALUE_BYTES: usize = 1 << 30;

// Words that different steps write lie in different cache lines.
const KIND_AT: usize = 0;
const VALUE_BYTES_AT: usize = 8;
const PARAMETER_AT: usize = 16;
const STATE_AT: usize = 64;
const SECOND_AT: usize = 72;
const THIRD_AT: usize = 80;
const SERVING_LOCK: usize = 128;
const CALLS: usize = 192;
const LIVENESS_CHECKS: usize = 200;
const LIVENESS_CHECKS_DONE: usize = 208;
const LAST_TICKET: usize = 256;
const USED_RECORDS: usize = 264;
const OPENINGS: usize = 320;
const PARTIES_AT: usize = 4096;
/// The words of a record: the party, its ticket, and an amount.
const PARTY_BYTES: usize = 32;
const VALUES_AT: usize = PARTIES_AT + MOST_PARTIES * PARTY_BYTES;

/// An object's memory as this process has it mapped.
#[derive(Debug)]
pub(super) struct ObjectMemory {
    memory: OwnedFd,
    mapping: Arc<Mapping>,
    kind: ObjectKind,
    value_bytes: usize,
    parameter: u64,
}

/// One record of the table, as it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Party {
    pub(super) index: usize,
    pub(super) word: PartyWord,
    pub(super) ticket: u64,
    pub(super) amount: u64,
}

impl ObjectMemory {
    /// Makes the memory of an object that has a value of `value_bytes` bytes.
    pub(super) fn create(kind: ObjectKind, parameter: u64, value_bytes: usize) -> io::Result<Self> {
        if value_bytes > MOST_VALUE_BYTES {
            let why = "a shared value has at most 1 GiB";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        let memory = memory::memfd("procession-sync", total_bytes(value_bytes))?;
        let mut made = Self::map(memory, kind, value_bytes)?;
        made.parameter = parameter;
        let set = |at: usize, to: u64| made.mapping.word(at).store(to, Ordering::Relaxed);
        set(KIND_AT, kind.number());
        set(VALUE_BYTES_AT, value_bytes as u64);
        set(PARAMETER_AT, parameter);
        Ok(made)
    }

    /// Maps the memory of an object that another process made.
    pub(super) fn open(memory: OwnedFd, kind: ObjectKind, value_bytes: usize) -> io::Result<Self> {
        let invalid = |why: &str| Err(io::Error::new(io::ErrorKind::InvalidData, why));
        if memory::sealed_len(&memory)? != total_bytes(value_bytes) {
            return invalid("shared memory of another type was refused");
        }
        let mut opened = Self::map(memory, kind, value_bytes)?;
        let get = |at: usize| opened.mapping.word(at).load(Ordering::Relaxed);
        let found = (get(KIND_AT), get(VALUE_BYTES_AT));
        let parameter = get(PARAMETER_AT);
        if found != (kind.number(), value_bytes as u64) || parameter > MOST_PARTIES as u64 {
            return invalid("shared memory of another type was refused");
        }
        opened.parameter = parameter;
        Ok(opened)
    }

    fn map(memory: OwnedFd, kind: ObjectKind, value_bytes: usize) -> io::Result<Self> {
        let mapping = Mapping::whole(memory.as_fd(), total_bytes(value_bytes))?;
        Ok(Self {
            memory,
            mapping: Arc::new(mapping),
            kind,
            value_bytes,
            parameter: 0,
        })
    }

    pub(super) fn file(&self) -> &OwnedFd {
        &self.memory
    }

    /// Whether `other` is memory of the same type.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.kind == other.kind && self.value_bytes == other.value_bytes
    }

    #[inline]
    pub(super) fn kind(&self) -> ObjectKind {
        self.kind
    }

    /// What the object was made with, as it was read when the memory came here: a process may have overwritten it
    /// since.
    pub(super) fn parameter(&self) -> u64 {
        self.parameter
    }

    /// The lock under which requests are served.
    pub(super) fn serving_lock(&self, holder: &Arc<Holder>) -> SharedLock {
        SharedLock::new(
            Arc::clone(&self.mapping),
            SERVING_LOCK,
            0,
            Arc::clone(holder),
        )
        .of_registered()
    }

    /// The state of the object. Its values are the object's.
    #[inline]
    pub(super) fn state(&self) -> &AtomicU64 {
        self.mapping.word(STATE_AT)
    }

    /// More of the state.
    #[inline]
    pub(super) fn second(&self) -> &AtomicU64 {
        self.mapping.word(SECOND_AT)
    }

    /// Still more of the state.
    #[inline]
    pub(super) fn third(&self) -> &AtomicU64 {
        self.mapping.word(THIRD_AT)
    }

    /// How often requests were to be served.
    pub(super) fn calls(&self) -> &AtomicU64 {
        self.mapping.word(CALLS)
    }

    /// How often it was requested to ask the kernel which parties are alive.
    pub(super) fn liveness_checks(&self) -> &AtomicU64 {
        self.mapping.word(LIVENESS_CHECKS)
    }

    /// Up to which of these requests that was done. Written only under the serving lock.
    pub(super) fn liveness_checks_done(&self) -> &AtomicU64 {
        self.mapping.word(LIVENESS_CHECKS_DONE)
    }

    /// A number for a process that opens the memory, from 0.
    pub(super) fn next_opening(&self) -> u64 {
        self.mapping.word(OPENINGS).fetch_add(1, Ordering::Relaxed)
    }

    /// A ticket that is higher than all before.
    pub(super) fn next_ticket(&self) -> u64 {
        let last = self.mapping.word(LAST_TICKET);
        last.fetch_add(1, Ordering::AcqRel).wrapping_add(1)
    }

    /// The word of the party in the record `index`.
    #[inline]
    pub(super) fn party(&self, index: usize) -> &AtomicU64 {
        self.mapping.word(record(index))
    }

    /// What a blocked thread sleeps on: the lower half of the party's word.
    #[inline]
    pub(super) fn sleeping_place(&self, index: usize) -> &AtomicU32 {
        self.mapping.half_word(record(index))
    }

    fn ticket(&self, index: usize) -> &AtomicU64 {
        self.mapping.word(record(index) + 8)
    }

    fn amount(&self, index: usize) -> &AtomicU64 {
        self.mapping.word(record(index) + 16)
    }

    /// Makes a party that waits. `None` if the table is full.
    pub(super) fn enrol(
        &self,
        number: NonZeroU32,
        request: PartyRequest,
        amount: u64,
    ) -> Option<Party> {
        let claimed = PartyWord::new(number, request);
        let index = (0..MOST_PARTIES).find(|index| self.claim(*index, claimed))?;
        self.used_records()
            .fetch_max(index as u64 + 1, Ordering::SeqCst);
        let ticket = self.next_ticket();
        self.ticket(index).store(ticket, Ordering::Relaxed);
        self.amount(index).store(amount, Ordering::Relaxed);
        let word = claimed.with(PartyState::Waiting).with_ticket(ticket);
        self.party(index).store(word.to_bits(), Ordering::Release);
        // Before what the caller looks at next.
        fence(Ordering::SeqCst);
        Some(Party {
            index,
            word,
            ticket,
            amount,
        })
    }

    fn claim(&self, index: usize, claimed: PartyWord) -> bool {
        let (free, claimed) = (PartyWord::FREE.to_bits(), claimed.to_bits());
        let word = self.party(index);
        let (claiming, reading) = (Ordering::SeqCst, Ordering::Relaxed);
        word.load(reading) == free
            && word
                .compare_exchange(free, claimed, claiming, reading)
                .is_ok()
    }

    /// Changes a party's word, from exactly the value that was judged.
    pub(super) fn change(&self, index: usize, from: PartyWord, to: PartyWord) -> bool {
        let (from, to) = (from.to_bits(), to.to_bits());
        let word = self.party(index);
        word.compare_exchange(from, to, Ordering::SeqCst, Ordering::Relaxed)
            .is_ok()
    }

    /// The party in the record `index`, if there is one.
    pub(super) fn read_party(&self, index: usize) -> Option<Party> {
        let word = PartyWord::from_bits(self.party(index).load(Ordering::Acquire));
        word.number()?;
        Some(Party {
            index,
            word,
            ticket: self.ticket(index).load(Ordering::Relaxed),
            amount: self.amount(index).load(Ordering::Relaxed),
        })
    }

    /// Frees the record `index` if it belongs to no process and is not free: only a process that overwrites the memory
    /// leaves it so.
    fn free_nonsense(&self, index: usize) {
        let word = PartyWord::from_bits(self.party(index).load(Ordering::Relaxed));
        if word.number().is_none() && word != PartyWord::FREE {
            self.change(index, word, PartyWord::FREE);
        }
    }

    /// All parties, in the order of their tickets, without parties that began to wait meanwhile: a party that was read
    /// too early to be seen may have come before them.
    pub(super) fn parties(&self, out: &mut Vec<Party>) {
        out.clear();
        let last = self.mapping.word(LAST_TICKET);
        let before = last.load(Ordering::SeqCst);
        let used = self.used_records().load(Ordering::SeqCst) as usize;
        for index in 0..used.min(MOST_PARTIES) {
            match self.read_party(index) {
                Some(party) => out.push(party),
                None => self.free_nonsense(index),
            }
        }
        let after = last.load(Ordering::SeqCst);
        if before != after {
            let is_late = |party: &Party| before < party.ticket && party.ticket <= after;
            out.retain(|it| it.word.state() != Some(PartyState::Waiting) || !is_late(it));
        }
        out.sort_unstable_by_key(|party| (party.ticket, party.index));
    }

    /// Forgets the unused end of the table. The caller has the serving lock.
    pub(super) fn trim(&self, last_used: Option<usize>) {
        let (word, needed) = (self.used_records(), last_used.map_or(0, |index| index + 1));
        let used = word.load(Ordering::SeqCst);
        if used <= needed as u64
            || word
                .compare_exchange(used, needed as u64, Ordering::SeqCst, Ordering::Relaxed)
                .is_err()
        {
            return;
        }
        // A record that was claimed before the exchange is seen here; after it, its owner raises the number.
        let is_used = |index: &usize| self.party(*index).load(Ordering::SeqCst) != 0;
        let end = (used as usize).min(MOST_PARTIES);
        if let Some(index) = (needed..end).rev().find(is_used) {
            word.fetch_max(index as u64 + 1, Ordering::SeqCst);
        }
    }

    /// Has all records read: a record in use may lie anywhere in the table. A process was killed while it served,
    /// perhaps in [`trim`](Self::trim) before it looked again; or no record is free.
    pub(super) fn expect_records_anywhere(&self) {
        self.used_records()
            .fetch_max(MOST_PARTIES as u64, Ordering::SeqCst);
    }

    /// Has the record `index` read by all that read the table. A process may have overwritten how many are in use.
    pub(super) fn expect_record(&self, index: usize) {
        let (used, needed) = (self.used_records(), index as u64 + 1);
        if used.load(Ordering::Relaxed) < needed {
            used.fetch_max(needed, Ordering::SeqCst);
        }
    }

    /// Leaves the memory as a process does that is killed in [`trim`](Self::trim).
    #[cfg(test)]
    pub(super) fn as_if_killed_in_trim(&self) {
        self.used_records().store(0, Ordering::SeqCst);
        let owner = u64::from(u32::MAX >> 2) << 32;
        self.mapping
            .word(SERVING_LOCK)
            .store(owner, Ordering::SeqCst);
    }

    /// How many records from the first on are in use, or more.
    fn used_records(&self) -> &AtomicU64 {
        self.mapping.word(USED_RECORDS)
    }

    /// Copies the value in `place` to `out`.
    #[inline]
    pub(super) fn load_value(&self, place: bool, out: &mut [u8]) {
        self.mapping.load(self.value_at(place), out);
    }

    /// Stores the value in `place`.
    #[inline]
    pub(super) fn store_value(&self, place: bool, value: &[u8]) {
        self.mapping.write(self.value_at(place), value);
    }

    #[inline]
    fn value_at(&self, place: bool) -> usize {
        VALUES_AT + usize::from(place) * value_stride(self.value_bytes)
    }
}

fn record(index: usize) -> usize {
    PARTIES_AT + PARTY_BYTES * index.min(MOST_PARTIES - 1)
}

/// The bytes of one place for the value: whole cache lines.
#[inline]
fn value_stride(value_bytes: usize) -> usize {
    value_bytes.next_multiple_of(64)
}

fn total_bytes(value_bytes: usize) -> usize {
    VALUES_AT + 2 * value_stride(value_bytes)
}
