//! Precedence, defaults and refusals.

use std::collections::HashMap;
use std::fs;

use super::*;
use crate::config::CachePolicy;
use crate::config::source::{Flags, stray_variables};

const MACHINE: Machine =
    Machine { memory: ByteSize::gib(16), cpus: 6, free_disk: |_| Some(ByteSize::gib(20)) };

/// Resolves with the given flags, variables and file text.
fn with(
    flags: &[(Key, &str)],
    variables: &[(&str, &str)],
    file: &str,
) -> Result<Resolved, ConfigError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("krait.toml");
    fs::write(&path, file).unwrap();
    let values = flags.iter().map(|(key, text)| (*key, vec![(*text).to_owned()])).collect();
    let flags = Flags { config: None, values };
    let variables: HashMap<_, _> = variables.iter().copied().collect();
    let environment = |name: &str| Ok(variables.get(name).map(|text| (*text).to_owned()));
    let sources = Sources::gather(&flags, &environment, &[path])?;
    resolve(&sources, &MACHINE)
}

#[test]
fn one_of_two_processors_is_left_to_the_clients() {
    let nothing = Flags { config: None, values: Vec::new() };
    let sources = Sources::gather(&nothing, &|_| Ok(None), &[]).unwrap();
    for (cpus, cores) in [(1, 1), (2, 1), (3, 3), (64, 64)] {
        let settings = resolve(&sources, &Machine { cpus, ..MACHINE }).unwrap().settings;
        assert_eq!(settings.cores, cores, "of {cpus}");
    }
}

fn refusal(flags: &[(Key, &str)], variables: &[(&str, &str)], file: &str) -> String {
    let error = with(flags, variables, file).expect_err("must be refused");
    assert_eq!(error.kind(), crate::error::ErrorKind::Invalid);
    error.to_string()
}

fn origin(resolved: &Resolved, key: Key) -> String {
    resolved.explained.iter().find(|line| line.key == key.name()).unwrap().origin.clone()
}

#[test]
fn defaults_come_from_the_machine() {
    let settings = with(&[], &[], "").unwrap().settings;
    assert_eq!(settings.cores, 6);
    assert_eq!(settings.memory, ByteSize::gib(4));
    assert_eq!(settings.wal_cap, ByteSize::gib(2));
    assert!(settings.data_dir.is_absolute() && settings.data_dir.ends_with("krait-data"));
    assert_eq!(settings.store, StoreUrl::File(settings.data_dir.join("store")));
    assert_eq!(settings.listen, [Listen::Unix(settings.data_dir.join("nbd.sock"))]);
    let half_of_the_log = ByteSize::gib(1);
    assert_eq!(settings.rpo, Rpo { age: Duration::from_secs(10), bytes: half_of_the_log });
    assert_eq!(settings.wal_segment, ByteSize::mib(4), "two for each of six cores: under 64 MiB");
}

#[test]
fn a_bucket_is_at_most_as_far_behind_as_is_promised() {
    let store = ("KRAIT_STORE", "s3://bucket");
    let bytes = |more: &[(&str, &str)]| {
        let resolved = with(&[], &[&[store], more].concat(), "").unwrap();
        (resolved.settings.rpo.bytes, origin(&resolved, Key::RpoBytes))
    };
    let (most, why) = bytes(&[]);
    assert_eq!(most, ByteSize::mib(64));
    assert!(why.contains("loss of the local disk"), "{why}");
    assert_eq!(
        bytes(&[("KRAIT_WAL_CAP", "96M"), ("KRAIT_WAL_SEGMENT", "1M")]).0,
        ByteSize::mib(48)
    );
    assert_eq!(bytes(&[("KRAIT_RPO_BYTES", "512M")]).0, ByteSize::mib(512));
}

#[test]
fn a_flag_beats_a_variable_and_a_variable_beats_the_file() {
    let variable = ("KRAIT_MEMORY", "2G");
    let file = "memory = \"1G\"\n";
    let all = with(&[(Key::Memory, "3G")], &[variable], file).unwrap();
    assert_eq!(all.settings.memory, ByteSize::gib(3));
    assert_eq!(origin(&all, Key::Memory), "flag --memory");
    let two = with(&[], &[variable], file).unwrap();
    assert_eq!(two.settings.memory, ByteSize::gib(2));
    assert_eq!(origin(&two, Key::Memory), "environment KRAIT_MEMORY");
    let one = with(&[], &[], file).unwrap();
    assert_eq!(one.settings.memory, ByteSize::gib(1));
    assert!(origin(&one, Key::Memory).ends_with("krait.toml:1"));
}

#[test]
fn every_setting_is_explained_once_in_order() {
    let resolved = with(&[], &[], "").unwrap();
    let keys: Vec<_> = resolved.explained.iter().map(|line| line.key).collect();
    assert_eq!(keys, Key::ALL.map(Key::name));
}

#[test]
fn a_relative_data_dir_of_a_file_is_below_the_files_directory() {
    let resolved = with(&[], &[], "data_dir = \"d\"").unwrap();
    let file = resolved.file.unwrap();
    assert_eq!(resolved.settings.data_dir, file.parent().unwrap().join("d"));
}

#[test]
fn listeners_are_lists_everywhere() {
    let shown = |resolved: Resolved| {
        resolved.settings.listen.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let expected = ["unix:/a", "tcp:b:1"];
    assert_eq!(shown(with(&[], &[("KRAIT_LISTEN", "unix:/a,tcp:b:1")], "").unwrap()), expected);
    assert_eq!(shown(with(&[], &[], "listen = [\"unix:/a\", \"tcp:b:1\"]").unwrap()), expected);
    assert_eq!(shown(with(&[], &[], "listen = \"unix:/a\"").unwrap()), ["unix:/a"]);
    assert!(refusal(&[], &[], "listen = []").contains("empty"));
}

#[test]
fn values_out_of_range_are_refused_with_the_range() {
    assert_eq!(
        refusal(&[(Key::Memory, "255M")], &[], ""),
        "memory (flag --memory): 255 MiB is out of range: choose from 256 MiB to 16 GiB \
         (the memory that this process may use ends there)"
    );
    assert!(refusal(&[(Key::Memory, "17G")], &[], "").contains("to 16 GiB"));
    assert!(refusal(&[(Key::Cores, "0")], &[], "").contains("choose from 1 to 128"));
    assert!(refusal(&[], &[("KRAIT_CORES", "two")], "").contains("KRAIT_CORES"));
    assert!(refusal(&[(Key::WalCap, "95M")], &[], "").contains("96 MiB to"));
    assert!(refusal(&[(Key::WalSegment, "512K")], &[], "").contains("1 MiB to 1 GiB"));
    assert!(refusal(&[(Key::WalSegment, "1048577")], &[], "").contains("multiple of 4 KiB"));
    assert!(refusal(&[(Key::RpoBytes, "2G")], &[], "").contains("half of wal.cap"));
    assert!(refusal(&[(Key::RpoSeconds, "0")], &[], "").contains("choose from 1"));
}

#[test]
fn values_that_do_not_parse_name_where_they_stand() {
    assert!(
        refusal(&[], &[], "\nmemory = \"lots\"").contains("krait.toml:2): `lots` is not a size")
    );
    assert!(
        refusal(&[(Key::Store, "device:/b")], &[], "").contains("not available in this version")
    );
    assert!(refusal(&[(Key::Store, "s3://B")], &[], "").contains("write s3://BUCKET"));
    assert!(refusal(&[], &[("KRAIT_LOG", "loud")], "").contains("error, warn, info"));
    assert!(refusal(&[], &[("KRAIT_DATA_DIR", "")], "").contains("empty"));
}

#[test]
fn a_named_file_must_exist() {
    let flags = Flags { config: Some("/does/not/exist.toml".into()), values: Vec::new() };
    let error = Sources::gather(&flags, &|_| Ok(None), &[]).err().unwrap();
    assert_eq!(error.kind(), crate::error::ErrorKind::NotFound);
}

#[test]
fn variables_that_mean_nothing_are_noticed() {
    let names = ["KRAIT_STROE", "KRAIT_STORE", "KRAIT_CONFIG", "HOME"].map(str::to_owned);
    let stray = stray_variables(names);
    assert_eq!(stray.len(), 1);
    assert_eq!((stray[0].name.as_str(), stray[0].suggestion), ("KRAIT_STROE", Some("KRAIT_STORE")));
}

#[test]
fn an_s3_store_is_set_up_from_its_tables() {
    let file = "store = \"s3://bkt/pre\"\n[s3]\nendpoint = \"http://minio:9000/\"\n\
                region = \"eu-1\"\npath_style = false\nca_file = \"ca.pem\"\nprofile = \"p\"\n\
                connections = 7\noperation_seconds = 4\n[danger]\naccept_self_signed = true\n";
    let resolved = with(&[(Key::AcceptUnconditionalPut, "true")], &[], file).unwrap();
    let s3 = resolved.settings.s3;
    assert_eq!(s3.endpoint.unwrap().to_string(), "http://minio:9000");
    assert_eq!((s3.region.as_deref(), s3.profile.as_deref()), (Some("eu-1"), Some("p")));
    assert_eq!((s3.path_style, s3.connections), (Some(false), 7));
    assert_eq!(s3.ca_file.unwrap(), resolved.file.unwrap().with_file_name("ca.pem"));
    assert!(s3.accept_self_signed && s3.accept_unconditional_put);
    let [connect, read, attempt] = [3, 4, 4].map(Duration::from_secs);
    assert_eq!((s3.timeouts.connect, s3.timeouts.read), (connect, read), "cut to the attempt");
    assert_eq!(s3.timeouts.attempt, attempt, "cut to the operation");
    assert_eq!(with(&[], &[], "").unwrap().settings.s3, crate::config::S3Settings::default());
}

#[test]
fn impossible_settings_of_an_s3_store_are_refused() {
    let refused = |key, text| refusal(&[(key, text)], &[], "");
    assert!(refused(Key::S3Endpoint, "minio:9000").contains("write http://HOST:PORT"));
    assert!(refused(Key::S3Connections, "1025").contains("from 1 to 1024"));
    assert!(refused(Key::S3Read, "11").contains("from 1 to 10"));
    assert!(refused(Key::S3PathStyle, "maybe").contains("neither true nor false"));
    assert!(refused(Key::AcceptSelfSigned, "1").contains("neither true nor false"));
}

#[test]
fn what_stays_in_the_cache_on_the_disk_has_a_policy_and_names() {
    let cache = |file: &str| with(&[], &[], file).unwrap().settings.disk_cache;
    assert_eq!(cache("").policy, CachePolicy::Lru);
    let file = "[cache]\npolicy = \"ttl=30m\"\npin = [\"vm1\", \"vm2\"]\n";
    assert_eq!(cache(file).policy, CachePolicy::Ttl(Duration::from_secs(1800)));
    let names: Vec<_> = cache(file).pin.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["vm1", "vm2"]);
    assert!(refusal(&[(Key::CachePolicy, "ttl=1d")], &[], "").contains("such as ttl=30m"));
    let error = refusal(&[], &[("KRAIT_CACHE_PIN", "a,")], "");
    assert!(error.starts_with("cache.pin (environment KRAIT_CACHE_PIN): "), "{error}");
    let many = vec!["vm"; limits::MAX_PINNED + 1].join(",");
    assert!(refusal(&[], &[("KRAIT_CACHE_PIN", &many)], "").contains("0 to 64"));
}

#[test]
fn read_only_volumes_are_named_by_file_environment_and_flag() {
    let names = |resolved: Resolved| -> Vec<String> {
        resolved.settings.read_only.iter().map(ToString::to_string).collect()
    };
    assert!(names(with(&[], &[], "").unwrap()).is_empty());
    let file = "[serve]\nread_only = [\"a\", \"b-1\"]\n";
    assert_eq!(names(with(&[], &[], file).unwrap()), ["a", "b-1"]);
    assert_eq!(names(with(&[], &[("KRAIT_READ_ONLY", "c, d")], file).unwrap()), ["c", "d"]);
    assert_eq!(names(with(&[(Key::ReadOnly, "e")], &[], file).unwrap()), ["e"]);
    let error = refusal(&[], &[("KRAIT_READ_ONLY", "c,")], "");
    assert!(error.starts_with("serve.read_only (environment KRAIT_READ_ONLY): "), "{error}");
    assert!(refusal(&[], &[], "[serve]\nread_only = [\"Base\"]\n").contains("krait.toml:2"));
}
