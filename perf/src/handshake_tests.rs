//! Handshakes with scripted servers.

use super::*;

/// A server whose answers are written down beforehand.
struct Script {
    answers: io::Cursor<Vec<u8>>,
    sent: Vec<u8>,
}

impl Read for Script {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.answers.read(buffer)
    }
}

impl Write for Script {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.sent.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn greeting(flags: u16) -> Vec<u8> {
    let mut bytes = NBD_MAGIC.to_be_bytes().to_vec();
    bytes.extend(NBD_OPT_MAGIC.to_be_bytes());
    bytes.extend(flags.to_be_bytes());
    bytes
}

fn reply(option: u32, kind: u32, data: &[u8]) -> Vec<u8> {
    let mut bytes = NBD_REP_MAGIC.to_be_bytes().to_vec();
    bytes.extend(option.to_be_bytes());
    bytes.extend(kind.to_be_bytes());
    bytes.extend(u32::try_from(data.len()).expect("short").to_be_bytes());
    bytes.extend(data);
    bytes
}

fn export_info(size: u64, flags: u16) -> Vec<u8> {
    let data = [&[0, 0], &size.to_be_bytes()[..], &flags.to_be_bytes()[..]].concat();
    reply(NBD_OPT_GO, NBD_REP_INFO, &data)
}

fn block_info(max: u32) -> Vec<u8> {
    let data = [&[0, 3, 0, 0, 2, 0, 0, 0, 16, 0], &max.to_be_bytes()[..]].concat();
    reply(NBD_OPT_GO, NBD_REP_INFO, &data)
}

fn talk(answers: &[Vec<u8>], export: &str) -> (Result<Export, HandshakeError>, Vec<u8>) {
    let mut script = Script { answers: io::Cursor::new(answers.concat()), sent: Vec::new() };
    let outcome = negotiate(&mut script, export);
    (outcome, script.sent)
}

fn structured(kind: u32) -> Vec<u8> {
    reply(NBD_OPT_STRUCTURED_REPLY, kind, &[])
}

#[test]
fn structured_replies_are_used_where_offered_and_not_needed() {
    for (kind, expected) in [(NBD_REP_ACK, true), (NBD_REP_ERR_UNSUP, false)] {
        let go = reply(NBD_OPT_GO, NBD_REP_ACK, &[]);
        let answers =
            [greeting(3), structured(kind), export_info(1 << 30, 0x10d), block_info(1 << 20), go];
        let (outcome, sent) = talk(&answers, "vm1");
        let export = outcome.expect("negotiated");
        assert_eq!(export.size, 1 << 30);
        assert_eq!(export.max_block, 1 << 20);
        assert_eq!(export.structured, expected);
        assert!(export.can_flush() && export.can_fua() && export.can_multi_conn());
        assert!(!export.read_only());
        assert_eq!(&sent[..4], [0, 0, 0, 3]);
        assert_eq!(&sent[sent.len() - 11..], b"\0\0\0\x03vm1\0\x01\0\x03");
    }
}

#[test]
fn servers_of_other_kinds_are_refused_by_name() {
    let (outcome, _) = talk(&[b"HTTP/1.1 400 Bad".to_vec()], "");
    assert!(matches!(outcome, Err(HandshakeError::NotNbd(..))));
    let (outcome, _) = talk(&[greeting(0)], "");
    assert!(matches!(outcome, Err(HandshakeError::NotFixed)));
    let (outcome, _) = talk(&[greeting(3)], "");
    assert!(matches!(outcome, Err(HandshakeError::Io(_))));
    let (outcome, _) = talk(&[greeting(3), reply(NBD_OPT_GO, NBD_REP_ACK, &[])], "");
    assert!(matches!(outcome, Err(HandshakeError::Confused { asked: 8, answered: 7, .. })));
}

#[test]
fn bad_answers_to_go_are_refused_by_name() {
    let hello = || [greeting(3), structured(NBD_REP_ACK)].concat();
    let after = |go: Vec<u8>| talk(&[hello(), go], "x").0;
    let unknown = reply(NBD_OPT_GO, (1 << 31) + 6, b"no such volume");
    let refused = after(unknown).expect_err("refused");
    assert!(refused.to_string().contains("no such volume"), "{refused}");
    let no_size = after(reply(NBD_OPT_GO, NBD_REP_ACK, &[]));
    assert!(matches!(no_size, Err(HandshakeError::NoSize(_))));
    let endless = after(block_info(4096).repeat(MAX_OPTION_REPLIES as usize));
    assert!(matches!(endless, Err(HandshakeError::Endless)));
    let long = after(reply(NBD_OPT_GO, NBD_REP_ACK, &vec![0; MAX_MESSAGE_BYTES as usize + 1]));
    assert!(matches!(long, Err(HandshakeError::TooLong(_))));
    let (outcome, sent) = talk(&[], &"n".repeat(4097));
    assert!(matches!(outcome, Err(HandshakeError::NameLength(4097))) && sent.is_empty());
}
