//! The constants of the protocol under their specification names, and the names for logs.

/// First eight bytes of a server: `NBDMAGIC`.
pub const NBD_MAGIC: u64 = 0x4e42_444d_4147_4943;
/// `IHAVEOPT`: newstyle greeting, and the head of every option.
pub const NBD_OPT_MAGIC: u64 = 0x4948_4156_454f_5054;
/// Head of every option reply.
pub const NBD_REP_MAGIC: u64 = 0x0003_e889_0455_65a9;
/// Head of a compact request.
pub const NBD_REQUEST_MAGIC: u32 = 0x2560_9513;
/// Head of a simple reply.
pub const NBD_SIMPLE_REPLY_MAGIC: u32 = 0x6744_6698;
/// Head of a structured reply chunk.
pub const NBD_STRUCTURED_REPLY_MAGIC: u32 = 0x668e_33ef;
/// Head of an extended request.
pub const NBD_EXTENDED_REQUEST_MAGIC: u32 = 0x21e4_1c71;
/// Head of an extended reply chunk.
pub const NBD_EXTENDED_REPLY_MAGIC: u32 = 0x6e8a_278c;

/// Bytes of the server's greeting.
pub const GREETING_BYTES: usize = 18;
/// Bytes of the client's flags, its answer to the greeting.
pub const CLIENT_FLAGS_BYTES: usize = 4;
/// Bytes of an option before its data.
pub const OPTION_HEADER_BYTES: usize = 16;
/// Bytes of an option reply before its data.
pub const OPTION_REPLY_HEADER_BYTES: usize = 20;
/// Bytes of a compact request.
pub const REQUEST_BYTES: usize = 28;
/// Bytes of an extended request.
pub const EXTENDED_REQUEST_BYTES: usize = 32;
/// Bytes of a simple reply.
pub const SIMPLE_REPLY_BYTES: usize = 16;
/// Bytes of a structured reply chunk before its payload.
pub const STRUCTURED_REPLY_BYTES: usize = 20;
/// Bytes of an extended reply chunk before its payload.
pub const EXTENDED_REPLY_BYTES: usize = 32;
/// Zeroes that end the answer to `NBD_OPT_EXPORT_NAME`, unless the client declined them.
pub const EXPORT_NAME_PADDING: usize = 124;

/// Declares constants of one kind and a function that gives a value its specification name.
macro_rules! named {
    ($(#[$doc:meta])* $names:ident($ty:ty) { $($(#[$item_doc:meta])* $name:ident = $value:expr;)* }) => {
        $($(#[$item_doc])* pub const $name: $ty = $value;)*

        $(#[$doc])*
        pub fn $names(value: $ty) -> &'static str {
            match value {
                $($name => stringify!($name),)*
                _ => "unknown",
            }
        }
    };
}

/// Handshake flag, server to client and back: options can be refused without closing.
pub const NBD_FLAG_FIXED_NEWSTYLE: u16 = 1 << 0;
/// Handshake flag: the padding after `NBD_OPT_EXPORT_NAME` may be left out.
pub const NBD_FLAG_NO_ZEROES: u16 = 1 << 1;

/// Transmission flag that is always set.
pub const NBD_FLAG_HAS_FLAGS: u16 = 1 << 0;
/// The export refuses writes.
pub const NBD_FLAG_READ_ONLY: u16 = 1 << 1;
/// FLUSH is served.
pub const NBD_FLAG_SEND_FLUSH: u16 = 1 << 2;
/// The FUA flag is served.
pub const NBD_FLAG_SEND_FUA: u16 = 1 << 3;
/// Sequential access is preferred; never set here.
pub const NBD_FLAG_ROTATIONAL: u16 = 1 << 4;
/// TRIM is served.
pub const NBD_FLAG_SEND_TRIM: u16 = 1 << 5;
/// WRITE_ZEROES is served.
pub const NBD_FLAG_SEND_WRITE_ZEROES: u16 = 1 << 6;
/// The DF flag of READ is served.
pub const NBD_FLAG_SEND_DF: u16 = 1 << 7;
/// A flush on one connection covers the writes of all.
pub const NBD_FLAG_CAN_MULTI_CONN: u16 = 1 << 8;
/// RESIZE is served; never set here.
pub const NBD_FLAG_SEND_RESIZE: u16 = 1 << 9;
/// CACHE is served.
pub const NBD_FLAG_SEND_CACHE: u16 = 1 << 10;
/// The FAST_ZERO flag of WRITE_ZEROES is served.
pub const NBD_FLAG_SEND_FAST_ZERO: u16 = 1 << 11;
/// BLOCK_STATUS takes a payload; never set here.
pub const NBD_FLAG_BLOCK_STATUS_PAYLOAD: u16 = 1 << 12;

named! {
    /// The specification name of an option.
    option_name(u32) {
        /// Choose an export without a way to refuse it.
        NBD_OPT_EXPORT_NAME = 1;
        /// End the session.
        NBD_OPT_ABORT = 2;
        /// Name the exports.
        NBD_OPT_LIST = 3;
        /// Go on under TLS.
        NBD_OPT_STARTTLS = 5;
        /// Describe an export.
        NBD_OPT_INFO = 6;
        /// Describe an export and begin the transmission.
        NBD_OPT_GO = 7;
        /// Use structured replies.
        NBD_OPT_STRUCTURED_REPLY = 8;
        /// Name the metadata contexts of an export.
        NBD_OPT_LIST_META_CONTEXT = 9;
        /// Choose the metadata contexts of an export.
        NBD_OPT_SET_META_CONTEXT = 10;
        /// Use extended headers.
        NBD_OPT_EXTENDED_HEADERS = 11;
    }
}

/// Set in the type of every option reply that is an error.
pub const NBD_REP_FLAG_ERROR: u32 = 1 << 31;

named! {
    /// The specification name of an option reply.
    option_reply_name(u32) {
        /// Done, or accepted.
        NBD_REP_ACK = 1;
        /// One export of a list.
        NBD_REP_SERVER = 2;
        /// One fact about an export.
        NBD_REP_INFO = 3;
        /// One metadata context.
        NBD_REP_META_CONTEXT = 4;
        /// Unknown option.
        NBD_REP_ERR_UNSUP = NBD_REP_FLAG_ERROR + 1;
        /// Forbidden by configuration.
        NBD_REP_ERR_POLICY = NBD_REP_FLAG_ERROR + 2;
        /// Malformed option.
        NBD_REP_ERR_INVALID = NBD_REP_FLAG_ERROR + 3;
        /// Impossible on this platform; never sent here.
        NBD_REP_ERR_PLATFORM = NBD_REP_FLAG_ERROR + 4;
        /// TLS comes first.
        NBD_REP_ERR_TLS_REQD = NBD_REP_FLAG_ERROR + 5;
        /// No such export.
        NBD_REP_ERR_UNKNOWN = NBD_REP_FLAG_ERROR + 6;
        /// The server is going down.
        NBD_REP_ERR_SHUTDOWN = NBD_REP_FLAG_ERROR + 7;
        /// The client must ask for block sizes; never sent here.
        NBD_REP_ERR_BLOCK_SIZE_REQD = NBD_REP_FLAG_ERROR + 8;
        /// The option is longer than the server accepts.
        NBD_REP_ERR_TOO_BIG = NBD_REP_FLAG_ERROR + 9;
        /// Extended headers are in force and exclude this option.
        NBD_REP_ERR_EXT_HEADER_REQD = NBD_REP_FLAG_ERROR + 10;
    }
}

named! {
    /// The specification name of an information type.
    info_name(u16) {
        /// Size and transmission flags.
        NBD_INFO_EXPORT = 0;
        /// Canonical name.
        NBD_INFO_NAME = 1;
        /// Description for people.
        NBD_INFO_DESCRIPTION = 2;
        /// Minimum, preferred and maximum sizes.
        NBD_INFO_BLOCK_SIZE = 3;
    }
}

named! {
    /// The specification name of a command.
    command_name(u16) {
        /// Read a range.
        NBD_CMD_READ = 0;
        /// Write a range; its data follows.
        NBD_CMD_WRITE = 1;
        /// End the session.
        NBD_CMD_DISC = 2;
        /// Make completed writes durable.
        NBD_CMD_FLUSH = 3;
        /// Forget a range.
        NBD_CMD_TRIM = 4;
        /// Bring a range near.
        NBD_CMD_CACHE = 5;
        /// Write zeroes to a range.
        NBD_CMD_WRITE_ZEROES = 6;
        /// Describe a range.
        NBD_CMD_BLOCK_STATUS = 7;
    }
}

/// Durable before the reply.
pub const NBD_CMD_FLAG_FUA: u16 = 1 << 0;
/// WRITE_ZEROES keeps the space allocated.
pub const NBD_CMD_FLAG_NO_HOLE: u16 = 1 << 1;
/// READ answers with one content chunk.
pub const NBD_CMD_FLAG_DF: u16 = 1 << 2;
/// BLOCK_STATUS answers with one descriptor.
pub const NBD_CMD_FLAG_REQ_ONE: u16 = 1 << 3;
/// WRITE_ZEROES fails rather than being slow.
pub const NBD_CMD_FLAG_FAST_ZERO: u16 = 1 << 4;
/// An extended request's length is that of a payload which follows.
pub const NBD_CMD_FLAG_PAYLOAD_LEN: u16 = 1 << 5;

/// The last chunk of a reply.
pub const NBD_REPLY_FLAG_DONE: u16 = 1 << 0;

/// Set in the type of every chunk that is an error.
pub const NBD_REPLY_TYPE_FLAG_ERROR: u16 = 1 << 15;

named! {
    /// The specification name of a reply chunk type.
    chunk_name(u16) {
        /// Nothing more: success if no chunk before was an error.
        NBD_REPLY_TYPE_NONE = 0;
        /// Data of a READ.
        NBD_REPLY_TYPE_OFFSET_DATA = 1;
        /// A range of a READ that is zero.
        NBD_REPLY_TYPE_OFFSET_HOLE = 2;
        /// Descriptors with 32-bit lengths.
        NBD_REPLY_TYPE_BLOCK_STATUS = 5;
        /// Descriptors with 64-bit lengths.
        NBD_REPLY_TYPE_BLOCK_STATUS_EXT = 6;
        /// The request failed.
        NBD_REPLY_TYPE_ERROR = NBD_REPLY_TYPE_FLAG_ERROR + 1;
        /// The request failed at an offset.
        NBD_REPLY_TYPE_ERROR_OFFSET = NBD_REPLY_TYPE_FLAG_ERROR + 2;
    }
}

/// The one metadata context that is served.
pub const BASE_ALLOCATION: &str = "base:allocation";
/// `base:allocation`: nothing is stored for the range.
pub const NBD_STATE_HOLE: u32 = 1 << 0;
/// `base:allocation`: the range reads as zeroes.
pub const NBD_STATE_ZERO: u32 = 1 << 1;
