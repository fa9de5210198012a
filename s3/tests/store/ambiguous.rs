//! A put whose answer is lost is made certain.

use std::sync::Barrier;

use chunk::{ObjectStore as _, StoreError};
use s3_test_server::{Fault, Options, Rule, TestServer};

use crate::fixture::{bytes, name, server, store, stored, wait};

#[test]
fn a_conditional_put_that_was_applied_without_an_answer_succeeds() {
    for fault in [Fault::ResetAfter, Fault::HangAfter, Fault::StatusAfter(500)] {
        let server = server();
        let store = store(&server);
        server.faults().add(Rule::once(fault));
        wait(store.put_if_absent(&name("object"), bytes(5000))).unwrap();
        assert_eq!(stored(&server, "object"), Some(bytes(5000)));
    }
}

#[test]
fn a_conditional_put_that_lost_while_its_answer_was_lost_is_told_so() {
    for other in [bytes(5001), vec![7; 5000], Vec::new()] {
        let server = server();
        let store = store(&server);
        wait(store.put(&name("object"), other.clone())).unwrap();
        server.faults().add(Rule::once(Fault::ResetAfter));
        let lost = wait(store.put_if_absent(&name("object"), bytes(5000)));
        assert!(matches!(lost, Err(StoreError::Exists { .. })), "{lost:?}");
        assert_eq!(stored(&server, "object"), Some(other));
    }
}

#[test]
fn a_conflict_is_no_loss() {
    let server = server();
    let store = store(&server);
    server.faults().add(Rule::all(Fault::Status(409)).times(3));
    wait(store.put_if_absent(&name("object"), bytes(10))).unwrap();
}

/// Eight callers race for each of fifty names while three in ten requests go wrong, half of
/// them after they were applied.
#[test]
fn with_faults_at_thirty_percent_each_race_has_exactly_one_winner() {
    const RACERS: usize = 8;
    const ROUNDS: usize = 50;
    let server = TestServer::start(Options { seed: 3, ..Options::default() }).unwrap();
    let store = store(&server);
    for fault in
        [Fault::ResetAfter, Fault::StatusAfter(500), Fault::StatusAfter(503), Fault::ResetBefore]
    {
        server.faults().add(Rule::all(fault).at(80));
    }
    let barrier = Barrier::new(RACERS);
    let run = |racer: usize| {
        let mut won = Vec::new();
        for round in 0..ROUNDS {
            barrier.wait();
            let object = name(&format!("race/{round}"));
            match wait(store.put_if_absent(&object, vec![racer as u8; 100])) {
                Ok(()) => won.push(round),
                Err(StoreError::Exists { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
        won
    };
    let mut winners = [None; ROUNDS];
    std::thread::scope(|scope| {
        let racers: Vec<_> = (0..RACERS)
            .map(|racer| {
                let run = &run;
                let builder = std::thread::Builder::new();
                builder.spawn_scoped(scope, move || run(racer)).unwrap()
            })
            .collect();
        for (racer, thread) in racers.into_iter().enumerate() {
            for round in thread.join().unwrap() {
                assert_eq!(winners[round].replace(racer), None, "two winners of round {round}");
            }
        }
    });
    for (round, winner) in winners.into_iter().enumerate() {
        let winner = winner.expect("each round has a winner");
        let body = stored(&server, &format!("race/{round}")).unwrap();
        assert_eq!(body, vec![winner as u8; 100], "round {round}");
    }
    assert!(server.faults().hits() > 100, "{} hits", server.faults().hits());
}
