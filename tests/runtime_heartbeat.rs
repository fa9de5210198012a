//! An executor that parks although it has work goes on with the next heartbeat.

use glommio::{LocalExecutorBuilder, Placement};
use krait::runtime::heartbeat::Heartbeat;
use krait::runtime::{ByteStream, Stream};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Serves an echo on an executor whose preemption timer is so short that it regularly fires before
/// the executor ran its first task. `None` if that happens before it even has a heartbeat, which is
/// somebody else's business; the thread is left to the end of the process then.
fn start_echo() -> Option<UnixStream> {
    let (ours, mut theirs) = UnixStream::pair().expect("pair");
    LocalExecutorBuilder::new(Placement::Unbound)
        .preempt_timer(Duration::from_micros(30))
        .spawn(move || async move {
            let heartbeat = Heartbeat::start();
            let stream = Stream::new(ours.into());
            let mut byte = [0];
            stream.write_all(&byte).await.expect("write");
            while stream.read_some(&mut byte).await.expect("read") > 0 {
                stream.write_all(&byte).await.expect("write");
            }
            heartbeat.stop().await;
        })
        .expect("an executor");
    theirs.set_read_timeout(Some(Duration::from_secs(4))).expect("a timeout");
    theirs.read_exact(&mut [0]).ok()?;
    Some(theirs)
}

/// Without a heartbeat a reply soon never comes, as nothing else happens on the executor.
#[test]
fn a_parked_executor_with_work_goes_on_with_the_next_beat() {
    let mut client = (0..10).find_map(|_| start_echo()).expect("one in ten starts");
    for round in 0..20_000 {
        client.write_all(&[1]).expect("write");
        client.read_exact(&mut [0]).unwrap_or_else(|error| panic!("round {round}: {error}"));
    }
}
