//! Which object store, as a URL.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use chunk::ObjectName;
use s3::BucketName;

/// An object store by its URL.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StoreUrl {
    /// `file:///path`: a directory of files, by its absolute path.
    File(PathBuf),
    /// `memory:`: memory of the serving process; gone when it ends.
    Memory,
    /// `s3://bucket/prefix`: a bucket, or all in it that starts with the prefix.
    S3 {
        /// The bucket.
        bucket: BucketName,
        /// The prefix, without the slash behind it.
        prefix: Option<ObjectName>,
    },
}

/// Why a text is not the URL of a store.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum StoreUrlError {
    /// Not a URL of a known scheme.
    #[error("`{text}` is not a store: write file:///absolute/path, s3://bucket/prefix or memory:")]
    Syntax {
        /// What was written.
        text: String,
    },
    /// A file URL whose path is not absolute, or that names a host.
    #[error(
        "`{text}`: a file store needs an absolute path and no host: write file:///absolute/path"
    )]
    NotAbsolute {
        /// What was written.
        text: String,
    },
    /// A bucket or a prefix that cannot be.
    #[error(
        "`{text}`: write s3://BUCKET or s3://BUCKET/PREFIX, the bucket of a-z, 0-9, '.' and '-', the \
         prefix of letters, digits, '.', '_', '-' and single slashes"
    )]
    Bucket {
        /// What was written.
        text: String,
    },
    /// A scheme that this version knows by name only.
    #[error(
        "`{text}`: the {scheme} store is not available in this version: use file:///path or s3://bucket/prefix"
    )]
    NotAvailable {
        /// What was written.
        text: String,
        /// Its scheme.
        scheme: &'static str,
    },
}

impl FromStr for StoreUrl {
    type Err = StoreUrlError;

    fn from_str(text: &str) -> Result<Self, StoreUrlError> {
        let syntax = || StoreUrlError::Syntax { text: text.to_owned() };
        match text.split_once(':').ok_or_else(syntax)? {
            ("file", rest) => match rest.strip_prefix("//").unwrap_or(rest) {
                path if path.starts_with('/') && !path.contains('\0') => {
                    Ok(Self::File(path.into()))
                }
                _ => Err(StoreUrlError::NotAbsolute { text: text.to_owned() }),
            },
            ("memory", "") => Ok(Self::Memory),
            ("s3", rest) => bucket(rest)
                .map(|(bucket, prefix)| Self::S3 { bucket, prefix })
                .ok_or_else(|| StoreUrlError::Bucket { text: text.to_owned() }),
            ("device", _) => {
                Err(StoreUrlError::NotAvailable { text: text.to_owned(), scheme: "device" })
            }
            _ => Err(syntax()),
        }
    }
}

/// The bucket and the prefix behind the scheme.
fn bucket(rest: &str) -> Option<(BucketName, Option<ObjectName>)> {
    let rest = rest.strip_prefix("//")?;
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let bucket = BucketName::new(bucket).ok()?;
    match prefix.strip_suffix('/').unwrap_or(prefix) {
        "" => Some((bucket, None)),
        prefix => Some((bucket, Some(ObjectName::new(prefix)?))),
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file://{}", path.display()),
            Self::Memory => f.write_str("memory:"),
            Self::S3 { bucket, prefix: None } => write!(f, "s3://{}", bucket.as_str()),
            Self::S3 { bucket, prefix: Some(prefix) } => {
                write!(f, "s3://{}/{prefix}", bucket.as_str())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stores_round_trip_through_their_url() {
        for (text, shown) in [
            ("file:///a/b", "file:///a/b"),
            ("file:/a", "file:///a"),
            ("memory:", "memory:"),
            ("s3://bkt", "s3://bkt"),
            ("s3://bkt/", "s3://bkt"),
            ("s3://bkt/a/b/", "s3://bkt/a/b"),
        ] {
            assert_eq!(text.parse::<StoreUrl>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn bad_stores_are_refused_with_their_reason() {
        for text in ["", "/a/b", "memory", "memory:x", "ftp://x"] {
            let error = text.parse::<StoreUrl>().unwrap_err();
            assert!(matches!(error, StoreUrlError::Syntax { .. }), "{text}: {error}");
        }
        for text in ["file:", "file://host/a", "file:a", "file://"] {
            let error = text.parse::<StoreUrl>().unwrap_err();
            assert!(matches!(error, StoreUrlError::NotAbsolute { .. }), "{text}: {error}");
        }
        for text in
            ["s3:", "s3://", "s3:bkt", "s3://Bkt", "s3://bkt//a", "s3://bkt/a b", "s3://bkt/.."]
        {
            let error = text.parse::<StoreUrl>().unwrap_err();
            assert!(matches!(error, StoreUrlError::Bucket { .. }), "{text}: {error}");
        }
        let error = "device:/dev/nvme1n1".parse::<StoreUrl>().unwrap_err();
        assert!(matches!(error, StoreUrlError::NotAvailable { .. }), "{error}");
    }
}
