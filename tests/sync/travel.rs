//! Handles that travel: to grandchildren, through queues and pipes, and as results.

use procession::sync::{
    Barrier, Condvar, Event, Mutex, Once, OwnedSemaphorePermit, RwLock, Semaphore,
};
use serde::{Deserialize, Serialize};

use crate::deadline::within;
use crate::notes::{Board, Notes};

/// All of them in one message.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Objects {
    mutex: Mutex<u64>,
    rwlock: RwLock<[u8; 3]>,
    semaphore: Semaphore,
    event: Event,
    condvar: Condvar,
    barrier: Barrier,
    once: Once,
}

impl Objects {
    fn new() -> Self {
        Self {
            mutex: Mutex::new(0).unwrap(),
            rwlock: RwLock::new([0; 3]).unwrap(),
            semaphore: Semaphore::new(1).unwrap(),
            event: Event::new().unwrap(),
            condvar: Condvar::new().unwrap(),
            barrier: Barrier::new(2).unwrap(),
            once: Once::new().unwrap(),
        }
    }
}

async fn use_all(objects: Objects) {
    let mut guard = objects.mutex.lock().await.unwrap();
    *guard += 1;
    objects.condvar.notify_all();
    drop(guard);
    objects.rwlock.write().await.unwrap()[1] = 7;
    objects.semaphore.acquire().await.unwrap().forget();
    objects.barrier.wait().await.unwrap();
    objects.once.call_once(async || ()).await;
    objects.event.set();
}

async fn hand_on(queue: procession::Receiver<Objects>) {
    let objects = queue.recv().await.unwrap();
    procession::spawn(use_all, objects).await.unwrap();
}

#[procession::test]
async fn objects_travel_through_a_queue_to_a_grandchild() {
    let objects = Objects::new();
    let (tx, rx) = procession::queue(1).unwrap();
    let child = procession::spawn(hand_on, rx);
    tx.send(objects.clone()).await.unwrap();
    let guard = within(objects.mutex.lock()).await.unwrap();
    let guard = within(objects.condvar.wait_while(guard, |n| *n == 0))
        .await
        .unwrap();
    assert_eq!(*guard, 1);
    drop(guard);
    assert!(within(objects.barrier.wait()).await.is_ok());
    within(objects.event.wait()).await;
    assert_eq!(*within(objects.rwlock.read()).await.unwrap(), [0, 7, 0]);
    assert!(objects.semaphore.try_acquire().is_err());
    assert!(objects.once.is_completed());
    within(child).await.unwrap();
}

#[procession::test]
async fn object_that_a_child_made_comes_back_and_outlives_it() {
    fn make() -> Mutex<u64> {
        Mutex::new(5).unwrap()
    }
    let made = within(procession::spawn(make, ())).await.unwrap();
    assert_eq!(*within(made.lock()).await.unwrap(), 5);
    let (a, b) = procession::pipe::<Mutex<u64>, Mutex<u64>>().unwrap();
    let (sent, received) = futures::join!(a.send(made.clone()), b.recv());
    sent.unwrap();
    let twin = received.unwrap();
    let _guard = within(made.lock()).await.unwrap();
    assert!(twin.is_locked() && twin.try_lock().is_err());
}

fn keep(permit: OwnedSemaphorePermit, notes: Notes) {
    let _permit = permit;
    notes.meet("keeps", "let go");
}

#[procession::test]
async fn permit_moves_with_its_message_and_comes_back_when_that_is_lost() {
    let (semaphore, board) = (Semaphore::new(2).unwrap(), Board::new());
    let permit = semaphore.clone().acquire_many_owned(2).await.unwrap();
    assert_eq!(permit.num_permits(), 2);
    let child = procession::spawn(keep, (permit, board.notes()));
    board.lines("keeps", 1).await;
    assert_eq!(semaphore.available_permits(), 0);
    board.write("let go", 0);
    within(child).await.unwrap();
    assert_eq!(semaphore.available_permits(), 2);
    // The process that has it is killed.
    let board = Board::new();
    let permit = semaphore.clone().acquire_many_owned(2).await.unwrap();
    let child = procession::spawn(keep, (permit, board.notes()));
    board.lines("keeps", 1).await;
    child.abort();
    drop(within(semaphore.acquire_many(2)).await.unwrap());
    // The message with it is never received.
    let (tx, rx) = procession::queue(1).unwrap();
    let permit = semaphore.clone().try_acquire_owned().unwrap();
    tx.send(permit).await.unwrap();
    assert_eq!(semaphore.available_permits(), 1);
    drop((tx, rx));
    drop(within(semaphore.acquire_many(2)).await.unwrap());
    // It is received here.
    let (tx, rx) = procession::channel().unwrap();
    let permit = semaphore.clone().acquire_owned().await.unwrap();
    tx.send(permit).await.unwrap();
    drop(within(rx.recv()).await.unwrap());
    assert_eq!(semaphore.available_permits(), 2);
}

#[test]
fn handles_guards_and_futures_go_between_threads() {
    fn moves<T: Send + Unpin>(_: &T) {}
    fn is_shared<T: Send + Sync + Unpin + 'static>(_: &T) {}
    let objects = Objects::new();
    is_shared(&objects);
    moves(&objects.mutex.lock());
    moves(&objects.mutex.recover());
    moves(&objects.rwlock.read());
    moves(&objects.rwlock.write());
    moves(&objects.rwlock.recover());
    moves(&objects.semaphore.acquire_many(1));
    is_shared(&objects.semaphore.clone().try_acquire_owned().unwrap());
    moves(&objects.semaphore.clone().acquire_owned());
    moves(&objects.event.wait());
    moves(&objects.barrier.wait());
    moves(&objects.once.call_once(async || ()));
    let guard = objects.mutex.blocking_lock().unwrap();
    moves(&guard);
    moves(&objects.condvar.wait_while(guard, |n| *n > 0));
    moves(&objects.rwlock.blocking_read().unwrap());
}
