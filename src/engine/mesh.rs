//! The seam between cores: owned messages from any core to any other, in order per pair.

/// Number of a core (an executor) of this server, from 0. Core `n` runs shard `n` of each volume.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CoreId(pub u16);

/// One core's end of the mesh. A handle is cheap to clone.
pub trait Mesh<M: 'static>: Clone + 'static {
    /// The core that this end belongs to.
    fn me(&self) -> CoreId;

    /// Number of cores, at least 1.
    fn cores(&self) -> u16;

    /// Hands a message to another core (never to [`Self::me`]); waits while the bounded ring to
    /// it is full. Messages between two cores arrive in the order they were sent.
    async fn send(&self, to: CoreId, message: M);

    /// Takes the next message from any core; the one long-lived pump task of a core calls this.
    /// Peers are drained in turn, so none starves.
    async fn receive(&self) -> M;
}
