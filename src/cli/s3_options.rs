//! What can be typed about an S3 store. Its keys cannot: other users would see them.

use clap::Args;

use crate::config::key::Key;

/// Options of every command whose store is on S3.
#[derive(Args, Debug)]
#[command(next_help_heading = "S3 options")]
pub(super) struct S3Options {
    /// Server of an S3 store, such as https://minio.local:9000 [default: that of AWS] [env:
    /// KRAIT_S3_ENDPOINT]
    #[arg(long, value_name = "URL", global = true)]
    s3_endpoint: Option<String>,

    /// Region of an S3 store [default: what the environment, the profile or the server says]
    /// [env: KRAIT_S3_REGION]
    #[arg(long, value_name = "NAME", global = true)]
    s3_region: Option<String>,

    /// Whether the bucket stands in the path instead of the host's name [default: if the server
    /// is named] [env: KRAIT_S3_PATH_STYLE]
    #[arg(long, value_name = "BOOL", global = true)]
    s3_path_style: Option<String>,

    /// Certificates that are trusted instead of the system's, in PEM [env: KRAIT_S3_CA_FILE]
    #[arg(long, value_name = "FILE", global = true)]
    s3_ca_file: Option<String>,

    /// Profile of the shared files of keys [default: AWS_PROFILE, or else `default`] [env:
    /// KRAIT_S3_PROFILE]
    #[arg(long, value_name = "NAME", global = true)]
    s3_profile: Option<String>,

    /// Requests to an S3 store at once [default: 32] [env: KRAIT_S3_CONNECTIONS]
    #[arg(long, value_name = "N", global = true)]
    s3_connections: Option<String>,

    /// Longest wait for a connection to an S3 store [default: 3] [env: KRAIT_S3_CONNECT_SECONDS]
    #[arg(long, value_name = "SECONDS", global = true)]
    s3_connect_seconds: Option<String>,

    /// Longest wait for the next bytes of an answer [default: 5] [env: KRAIT_S3_READ_SECONDS]
    #[arg(long, value_name = "SECONDS", global = true)]
    s3_read_seconds: Option<String>,

    /// Longest attempt of a small request [default: 10] [env: KRAIT_S3_ATTEMPT_SECONDS]
    #[arg(long, value_name = "SECONDS", global = true)]
    s3_attempt_seconds: Option<String>,

    /// Longest time for all attempts of a small request [default: 25] [env:
    /// KRAIT_S3_OPERATION_SECONDS]
    #[arg(long, value_name = "SECONDS", global = true)]
    s3_operation_seconds: Option<String>,

    /// Accept any certificate of an S3 store: whoever is in between can read and change all data
    /// [env: KRAIT_DANGER_ACCEPT_SELF_SIGNED]
    #[arg(long, value_name = "BOOL", global = true)]
    danger_accept_self_signed: Option<String>,

    /// Accept an S3 store that ignores conditions: two hosts that open one volume destroy each
    /// other's data [env: KRAIT_DANGER_ACCEPT_UNCONDITIONAL_PUT]
    #[arg(long, value_name = "BOOL", global = true)]
    danger_accept_unconditional_put: Option<String>,
}

impl S3Options {
    /// Hands out each option with its setting.
    pub(super) fn each(&self, add: &mut impl FnMut(Key, &Option<String>)) {
        add(Key::S3Endpoint, &self.s3_endpoint);
        add(Key::S3Region, &self.s3_region);
        add(Key::S3PathStyle, &self.s3_path_style);
        add(Key::S3CaFile, &self.s3_ca_file);
        add(Key::S3Profile, &self.s3_profile);
        add(Key::S3Connections, &self.s3_connections);
        add(Key::S3Connect, &self.s3_connect_seconds);
        add(Key::S3Read, &self.s3_read_seconds);
        add(Key::S3Attempt, &self.s3_attempt_seconds);
        add(Key::S3Operation, &self.s3_operation_seconds);
        add(Key::AcceptSelfSigned, &self.danger_accept_self_signed);
        add(Key::AcceptUnconditionalPut, &self.danger_accept_unconditional_put);
    }
}
