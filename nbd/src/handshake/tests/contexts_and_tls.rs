//! Meta contexts and TLS.

use super::{BOTH, Peer, info_data, meta_data, option};
use crate::export::{ContextId, ReplyMode};
use crate::handshake::{CloseReason, Refusal, Step, TlsPolicy};
use crate::{limits, wire};

fn chunks() -> Peer {
    let mut peer = Peer::new();
    assert_eq!(peer.kinds(wire::NBD_OPT_STRUCTURED_REPLY, &[]), [wire::NBD_REP_ACK]);
    peer
}

#[test]
fn contexts_need_chunks() {
    let data = meta_data(b"disk", &[b"base:allocation"]);
    for code in [wire::NBD_OPT_LIST_META_CONTEXT, wire::NBD_OPT_SET_META_CONTEXT] {
        assert_eq!(Peer::new().kinds(code, &data), [wire::NBD_REP_ERR_INVALID]);
    }
}

#[test]
fn contexts_are_listed_by_name_by_wildcard_and_without_a_query() {
    let found = [wire::NBD_REP_META_CONTEXT, wire::NBD_REP_ACK];
    let none = [wire::NBD_REP_ACK];
    let ask = |queries: &[&[u8]]| {
        chunks().kinds(wire::NBD_OPT_LIST_META_CONTEXT, &meta_data(b"disk", queries))
    };
    assert_eq!(ask(&[]), found);
    assert_eq!(ask(&[b"base:"]), found);
    assert_eq!(ask(&[b"base:allocation"]), found);
    assert_eq!(ask(&[b"x-other:thing", b"base:allocation"]), found);
    assert_eq!(ask(&[b"x-other:thing", b"base:nope", b"nocolon", b""]), none);
    let mut peer = chunks();
    peer.send(&option(wire::NBD_OPT_LIST_META_CONTEXT, &meta_data(b"disk", &[])));
    assert_eq!(peer.replies()[0].2, b"\0\0\0\0base:allocation", "a listed context has no id");
}

#[test]
fn setting_takes_full_names_only() {
    let ask = |queries: &[&[u8]]| {
        chunks().kinds(wire::NBD_OPT_SET_META_CONTEXT, &meta_data(b"disk", queries))
    };
    assert_eq!(ask(&[b"base:allocation"]), [wire::NBD_REP_META_CONTEXT, wire::NBD_REP_ACK]);
    assert_eq!(ask(&[]), [wire::NBD_REP_ACK]);
    assert_eq!(ask(&[b"base:"]), [wire::NBD_REP_ACK]);
}

fn context_after(options: &[(u32, Vec<u8>)], go: &[u8]) -> Option<ContextId> {
    let mut peer = chunks();
    for (code, data) in options {
        peer.send(&option(*code, data));
    }
    match peer.send(&option(wire::NBD_OPT_GO, &info_data(go, &[]))) {
        Step::Transmission(negotiated) => negotiated.base_allocation,
        step => panic!("no transmission: {step:?}"),
    }
}

#[test]
fn a_context_holds_for_its_export_and_until_the_next_request() {
    let set = wire::NBD_OPT_SET_META_CONTEXT;
    let chosen = || (set, meta_data(b"disk", &[b"base:allocation"]));
    assert_eq!(context_after(&[chosen()], b"disk"), Some(ContextId(1)));
    assert_eq!(context_after(&[chosen()], b""), Some(ContextId(1)), "the same export");
    assert_eq!(context_after(&[chosen()], b"rom"), None);
    assert_eq!(context_after(&[], b"disk"), None);
    for failed in [
        (set, meta_data(b"disk", &[])),
        (set, meta_data(b"nope", &[b"base:allocation"])),
        (set, vec![1]),
        (set, vec![0; limits::MAX_OPTION_DATA as usize + 1]),
    ] {
        assert_eq!(context_after(&[chosen(), failed], b"disk"), None);
    }
    let listed = (wire::NBD_OPT_LIST_META_CONTEXT, meta_data(b"disk", &[]));
    assert_eq!(context_after(&[chosen(), listed], b"disk"), Some(ContextId(1)));
    let extended = (wire::NBD_OPT_EXTENDED_HEADERS, vec![]);
    assert_eq!(context_after(&[chosen(), extended], b"disk"), Some(ContextId(1)));
}

#[test]
fn malformed_context_requests_are_invalid() {
    let good = meta_data(b"disk", &[b"base:allocation"]);
    let mut longer = good.clone();
    longer.push(0);
    let mut more_queries = good.clone();
    more_queries[8..12].copy_from_slice(&[0xff; 4]);
    for data in [&good[..2], &good[..9], &good[..good.len() - 1], &longer, &more_queries] {
        for code in [wire::NBD_OPT_LIST_META_CONTEXT, wire::NBD_OPT_SET_META_CONTEXT] {
            assert_eq!(chunks().kinds(code, data), [wire::NBD_REP_ERR_INVALID]);
        }
    }
}

#[test]
fn tls_forgets_what_was_negotiated_in_the_open() {
    let mut peer = Peer::greeted(TlsPolicy::Offered, BOTH);
    peer.kinds(wire::NBD_OPT_STRUCTURED_REPLY, &[]);
    assert_eq!(peer.send(&option(wire::NBD_OPT_STARTTLS, &[])), Step::StartTls);
    assert_eq!(peer.replies(), [(wire::NBD_OPT_STARTTLS, wire::NBD_REP_ACK, vec![])]);
    peer.handshake.tls_started();
    assert_eq!(peer.kinds(wire::NBD_OPT_STARTTLS, &[]), [wire::NBD_REP_ERR_INVALID]);
    match peer.send(&option(wire::NBD_OPT_GO, &info_data(b"disk", &[]))) {
        Step::Transmission(negotiated) => {
            assert!(negotiated.tls);
            assert_eq!(negotiated.mode, ReplyMode::Simple);
        }
        step => panic!("no transmission: {step:?}"),
    }
}

#[test]
fn plaintext_behind_starttls_closes() {
    let mut peer = Peer::greeted(TlsPolicy::Offered, BOTH);
    let mut input = option(wire::NBD_OPT_STARTTLS, &[]);
    input.push(b'I');
    assert_eq!(peer.send(&input), Step::Close(CloseReason::PlaintextAfterStartTls));
    assert!(peer.out.is_empty());
}

#[test]
fn where_tls_is_required_nothing_else_works_before_it() {
    let mut peer = Peer::greeted(TlsPolicy::Required, BOTH);
    for code in [3, 6, 7, 8, 9, 10, 11, 99] {
        assert_eq!(peer.kinds(code, &[]), [wire::NBD_REP_ERR_TLS_REQD]);
    }
    assert_eq!(peer.send(&option(wire::NBD_OPT_STARTTLS, &[])), Step::StartTls);
    let mut peer = Peer::greeted(TlsPolicy::Required, BOTH);
    let step = peer.send(&option(wire::NBD_OPT_EXPORT_NAME, b"disk"));
    assert_eq!(step, Step::Close(CloseReason::ExportName(Refusal::TlsRequired)));
    let mut peer = Peer::greeted(TlsPolicy::Required, BOTH);
    let step = peer.send(&option(wire::NBD_OPT_ABORT, &[]));
    assert_eq!(step, Step::Close(CloseReason::Aborted));
}
