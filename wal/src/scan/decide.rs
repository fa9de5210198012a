//! What recovery does at each step along the log of one shard: a table, one row per case.

/// What stands for the next lsn in the files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    /// One record, with good payload.
    Sound,
    /// One header block, with bad payload.
    Damaged,
    /// More than one header block.
    Twice,
    /// No header block.
    Absent,
}

/// Whether some record of the same log says that the next lsn was synced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Proof {
    Synced,
    Unproven,
}

/// Whether header blocks of a higher lsn are there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Rest {
    Later,
    Nothing,
}

/// What follows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Action {
    /// Replay the record and go on with the next lsn.
    Accept,
    /// The log ends here, and nothing is missing.
    End,
    /// The log ends here; what follows was never synced, and is dropped and reported.
    Drop,
    /// The volume does not open: a record that was synced is not there as it was written.
    RefuseLost,
    /// The volume does not open: two records claim one place in the log.
    RefuseTwice,
}

/// One row; `None` stands for any.
pub(super) struct Row {
    pub label: char,
    pub state: State,
    pub proof: Option<Proof>,
    pub rest: Option<Rest>,
    pub action: Action,
}

const fn row(
    label: char,
    state: State,
    proof: Option<Proof>,
    rest: Option<Rest>,
    action: Action,
) -> Row {
    Row { label, state, proof, rest, action }
}

/// The table, as `wal/FORMAT.md` prints it. A record only vouches for lower lsns, so "absent,
/// synced, nothing" cannot occur; row E refuses it all the same.
pub(super) const TABLE: [Row; 7] = [
    row('A', State::Sound, None, None, Action::Accept),
    row('B', State::Twice, None, None, Action::RefuseTwice),
    row('C', State::Damaged, Some(Proof::Synced), None, Action::RefuseLost),
    row('D', State::Damaged, Some(Proof::Unproven), None, Action::Drop),
    row('E', State::Absent, Some(Proof::Synced), None, Action::RefuseLost),
    row('F', State::Absent, Some(Proof::Unproven), Some(Rest::Later), Action::Drop),
    row('G', State::Absent, Some(Proof::Unproven), Some(Rest::Nothing), Action::End),
];

impl Row {
    fn covers(&self, state: State, proof: Proof, rest: Rest) -> bool {
        self.state == state
            && self.proof.is_none_or(|only| only == proof)
            && self.rest.is_none_or(|only| only == rest)
    }
}

/// Looks up the one row for these inputs.
pub(super) fn decide(state: State, proof: Proof, rest: Rest) -> &'static Row {
    let mut rows = TABLE.iter().filter(|row| row.covers(state, proof, rest));
    rows.next().expect("the table covers all inputs")
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATES: [State; 4] = [State::Sound, State::Damaged, State::Twice, State::Absent];

    #[test]
    fn every_input_has_exactly_one_row() {
        let mut used = Vec::new();
        for state in STATES {
            for proof in [Proof::Synced, Proof::Unproven] {
                for rest in [Rest::Later, Rest::Nothing] {
                    let rows = TABLE.iter().filter(|row| row.covers(state, proof, rest));
                    assert_eq!(rows.count(), 1, "{state:?} {proof:?} {rest:?}");
                    used.push(decide(state, proof, rest).label);
                }
            }
        }
        assert_eq!(used.iter().collect::<String>(), "AAAACCDDBBBBEEFG");
    }

    #[test]
    fn what_was_synced_is_never_dropped_and_nothing_damaged_is_accepted() {
        for state in STATES {
            for rest in [Rest::Later, Rest::Nothing] {
                let synced = decide(state, Proof::Synced, rest).action;
                assert!(!matches!(synced, Action::Drop | Action::End), "{state:?}");
                for proof in [Proof::Synced, Proof::Unproven] {
                    let accepted = decide(state, proof, rest).action == Action::Accept;
                    assert_eq!(accepted, state == State::Sound);
                }
            }
        }
    }

    #[test]
    fn the_document_has_the_same_table() {
        fn cell<T: std::fmt::Debug>(only: Option<T>) -> String {
            only.map_or("any".into(), |value| format!("{value:?}"))
        }
        for row in &TABLE {
            let line = format!(
                "| {} | {:?} | {} | {} | {:?} |",
                row.label,
                row.state,
                cell(row.proof),
                cell(row.rest),
                row.action
            );
            let document = include_str!("../../FORMAT.md");
            assert!(document.lines().any(|l| l.starts_with(&line)), "missing: {line}");
        }
    }
}
