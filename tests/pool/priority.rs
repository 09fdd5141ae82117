//! Priorities: which task is next, and that none waits for ever.

use futures::future::join_all;
use procession::Priority;

use crate::deadline::within;
use crate::notes::{Board, Notes};
use crate::pools::ready;
use crate::tasks::held;

#[procession::test]
async fn lower_priority_has_one_of_sixteen_turns_while_it_waits() {
    let board = Board::new();
    let pool = ready(1).await;
    let first = pool.spawn(held, (board.notes(), "here".to_owned()));
    board.lines("here", 1).await;
    let note = |notes: Notes, name: String| notes.write("order", name);
    let mut handles = Vec::new();
    for (priority, count) in [
        (Priority::Low, 5),
        (Priority::Normal, 5),
        (Priority::High, 150),
    ] {
        for _ in 0..count {
            let run = pool.run(note, (board.notes(), format!("{priority:?}")));
            handles.push(run.priority(priority).spawn());
        }
    }
    board.write("go", 1);
    within(first).await.unwrap();
    within(join_all(handles)).await;
    let order = board.read("order");
    // The order in which tasks are sent to the only worker is the order in which they run.
    for name in ["Low", "Normal"] {
        let places = order.iter().enumerate().filter(|(_, it)| *it == name);
        let places: Vec<_> = places.map(|(place, _)| place).collect();
        assert_eq!(places.len(), 5);
        assert!(places[0] < 16, "{places:?}");
        assert!(
            places.windows(2).all(|it| it[1] - it[0] <= 16),
            "{places:?}"
        );
    }
}
