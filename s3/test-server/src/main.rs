//! The test server as a program, for a first try without a cloud account.

use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Parser;
use s3_test_server::{ACCESS_KEY, Options, SECRET_KEY, TestServer};

/// An S3 server in memory: what it holds is gone when it ends.
#[derive(Parser, Debug)]
#[command(name = "s3-test-server", version)]
struct Arguments {
    /// Where to listen
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9000")]
    listen: SocketAddr,

    /// The bucket that it has
    #[arg(long, value_name = "NAME", default_value = "krait-test")]
    bucket: String,

    /// Overwrite objects in spite of If-None-Match, to see such a store refused
    #[arg(long)]
    ignore_if_none_match: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let options = Options {
        listen: arguments.listen,
        buckets: vec![arguments.bucket.clone()],
        ignores_conditions: arguments.ignore_if_none_match,
        ..Options::default()
    };
    let server = match TestServer::start(options) {
        Ok(server) => server,
        Err(error) => {
            eprintln!("error: {}: {error}", arguments.listen);
            return ExitCode::FAILURE;
        }
    };
    println!("Serving bucket {} in memory, until Ctrl-C. In another shell:\n", arguments.bucket);
    println!("export AWS_ACCESS_KEY_ID={ACCESS_KEY} AWS_SECRET_ACCESS_KEY={SECRET_KEY}");
    let endpoint = server.endpoint();
    println!("krait serve --store s3://{}/try --s3-endpoint {endpoint}", arguments.bucket);
    loop {
        std::thread::park();
    }
}
