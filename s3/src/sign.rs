//! Signature version 4 as S3 wants it.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4::SigningParams;
use chunk::RemoteCause;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use crate::credentials::Keys;
use crate::request::Request;

/// What a signature is made with.
pub(crate) struct Signer<'a> {
    pub(crate) keys: &'a Keys,
    pub(crate) region: &'a str,
    pub(crate) now: SystemTime,
    /// Whether the body is part of the signature. Encryption protects it as well, at less cost.
    pub(crate) sign_body: bool,
}

impl Signer<'_> {
    /// All headers of the request, those of the signature included.
    pub(crate) fn headers(&self, request: &Request, url: &str) -> Result<HeaderMap, RemoteCause> {
        let malformed = |what| RemoteCause::Malformed { what };
        let keys = Credentials::new(
            &self.keys.access,
            self.keys.secret.expose(),
            self.keys.token.as_ref().map(|token| token.expose().to_owned()),
            self.keys.expires,
            "krait",
        );
        let identity = keys.into();
        let mut settings = SigningSettings::default();
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        let params = SigningParams::builder()
            .identity(&identity)
            .region(self.region)
            .name("s3")
            .time(self.now)
            .settings(settings)
            .build()
            .expect("all that it needs is there")
            .into();
        let body = match self.sign_body || request.body.is_empty() {
            true => SignableBody::Bytes(&request.body),
            false => SignableBody::UnsignedPayload,
        };
        let given = request.headers.iter().map(|(name, value)| (*name, value.as_str()));
        let signable = SignableRequest::new(request.method.as_str(), url, given, body)
            .map_err(|_| malformed("the request cannot be signed"))?;
        let signed = sign(signable, &params)
            .map_err(|_| malformed("the request cannot be signed with these keys"))?;
        let mut headers = HeaderMap::new();
        let instructions = signed.output();
        let given = request.headers.iter().map(|(name, value)| (*name, value.as_str()));
        for (name, value) in given.chain(instructions.headers()) {
            let name = HeaderName::from_bytes(name.as_bytes());
            let value = HeaderValue::from_str(value);
            let (Ok(name), Ok(value)) = (name, value) else {
                return Err(malformed("the keys do not fit into a header"));
            };
            headers.insert(name, value);
        }
        Ok(headers)
    }
}
