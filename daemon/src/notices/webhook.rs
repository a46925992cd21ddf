//! Sends a notification to an address: as JSON, or as ntfy has it (<https://docs.ntfy.sh/publish/>).
//!
//! Only over TLS, but to this machine and its own network; where an answer leads is not followed. What is secret
//! (the address, values of headers) is in no error. Not here: when something is sent, and when again.

use std::{net::IpAddr, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use reqwest::{
    Client, Url,
    header::{HeaderMap, HeaderName, HeaderValue},
    redirect::Policy,
};
use rrd_core::redact::Redacted;
use rrd_proto::{NoticeKind, Notification, VERSION};

use super::Failure;

/// For a connection.
const CONNECT: Duration = Duration::from_secs(5);

/// An address that notifications are sent to.
#[derive(Debug, Clone)]
pub(super) struct Webhook {
    client: Client,
    url: Url,
    is_ntfy: bool,
}

impl Webhook {
    pub(super) fn new(
        url: Url,
        is_ntfy: bool,
        allow_http: bool,
        within: Duration,
    ) -> Result<Self, String> {
        if url.scheme() == "http" && !allow_http && !is_near(&url) {
            return Err("http goes to this machine and private addresses only: use https, or \
                        allow_http = true"
                .to_owned());
        }
        // reqwest is built without a choice of its own. If somebody chose before, that will do, too.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut client = Client::builder()
            .redirect(Policy::none())
            .connect_timeout(CONNECT)
            .timeout(within)
            .user_agent(format!("rrd/{VERSION}"));
        if url.scheme() == "http" {
            client = client.no_proxy();
        }
        let client = client.build().map_err(|error| reason(&error))?;
        Ok(Self { client, url, is_ntfy })
    }

    /// Sends it, with these headers of the user's.
    pub(super) async fn send(
        &self,
        told: &Redacted<Notification>,
        own: &[(String, String)],
    ) -> Result<(), Failure> {
        let told = told.as_ref();
        let mut headers = HeaderMap::new();
        let body = match self.is_ntfy {
            true => ntfy(told, &mut headers),
            false => {
                set(&mut headers, "content-type", "application/json");
                serde_json::to_string(told).map_err(|error| Failure::new(error.to_string()))?
            }
        };
        set(&mut headers, "idempotency-key", &told.id);
        for (name, value) in own {
            let wrong = || Failure::new(format!("the value for header {name} cannot be sent"));
            let header = HeaderName::try_from(name).map_err(|_| wrong())?;
            let mut value = HeaderValue::try_from(value).map_err(|_| wrong())?;
            value.set_sensitive(true);
            headers.insert(header, value);
        }
        let request = self.client.post(self.url.clone()).headers(headers).body(body);
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) if error.is_timeout() => {
                return Err(Failure::new(format!("{} did not answer in time", self.host())));
            }
            Err(error) => {
                let why = reason(&error);
                return Err(Failure::new(format!("{} cannot be reached: {why}", self.host())));
            }
        };
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let after = answer.headers().get("retry-after").and_then(|value| value.to_str().ok());
        let after = after.and_then(|text| text.trim().parse().ok());
        let after = after.map(|seconds: u32| i64::from(seconds) * 1_000);
        let hint = if status.is_redirection() { "; where that leads is not followed" } else { "" };
        Err(Failure { why: format!("{} answered {status}{hint}", self.host()), after })
    }

    fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }
}

/// This machine, or an address that no other network has.
fn is_near(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    match bare.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => {
            let [a, b, ..] = ip.octets();
            // 100.64.0.0/10: a tailnet's.
            let is_shared = a == 100 && (64..128).contains(&b);
            ip.is_loopback() || ip.is_private() || ip.is_link_local() || is_shared
        }
        Ok(IpAddr::V6(ip)) => {
            ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local()
        }
        Err(_) => bare == "localhost",
    }
}

fn ntfy(told: &Notification, headers: &mut HeaderMap) -> String {
    let tag = match told.notices.iter().map(|one| one.kind).max_by_key(|kind| urgency(*kind)) {
        Some(NoticeKind::NeedsYou) => "raising_hand",
        Some(NoticeKind::Crashed) => "boom",
        Some(NoticeKind::Deadlock) => "repeat",
        Some(NoticeKind::HostAwayWithWork) => "electric_plug",
        Some(NoticeKind::MirrorFailing) => "floppy_disk",
        Some(NoticeKind::Finished) => "white_check_mark",
        None => "test_tube",
    };
    set(headers, "tags", tag);
    set(headers, "priority", &told.priority.to_string());
    if let Some(page) = &told.page {
        set(headers, "click", page);
    }
    // Without a text it would say "triggered".
    if told.text.is_empty() {
        return told.title.clone();
    }
    set(headers, "title", &encoded(&told.title));
    told.text.clone()
}

const fn urgency(kind: NoticeKind) -> u8 {
    rrd_core::notices::words::priority(kind)
}

/// A text as a header may hold it, RFC 2047: in words of 45 bytes at most, each of whole letters.
fn encoded(text: &str) -> String {
    if text.chars().all(|c| c == ' ' || c.is_ascii_graphic()) {
        return text.to_owned();
    }
    let mut words = vec![String::new()];
    for c in text.chars() {
        match words.last_mut() {
            Some(word) if word.len() + c.len_utf8() <= 45 => word.push(c),
            _ => words.push(c.to_string()),
        }
    }
    let word = |word: &String| format!("=?UTF-8?B?{}?=", BASE64_STANDARD.encode(word));
    words.iter().map(word).collect::<Vec<_>>().join(" ")
}

/// What cannot be in a header is left out with it.
fn set(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.insert(name, value);
    }
}

/// The innermost reason: those before it name the address.
fn reason(error: &reqwest::Error) -> String {
    let mut why: &dyn std::error::Error = error;
    while let Some(inner) = why.source() {
        why = inner;
    }
    match std::ptr::addr_eq(why, error) {
        true => "no reason is given".to_owned(),
        false => why.to_string().chars().take(200).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_stays_near() {
        let may = |url: &str, allow| {
            Webhook::new(Url::parse(url).unwrap(), false, allow, CONNECT).is_ok()
        };
        for near in [
            "http://127.0.0.1:80/x",
            "http://localhost/x",
            "http://[::1]/x",
            "http://192.168.1.9/x",
            "http://100.100.1.2/x",
            "http://[fd00::1]/x",
            "https://ntfy.sh/x",
        ] {
            assert!(may(near, false), "{near}");
        }
        for far in [
            "http://ntfy.sh/x",
            "http://8.8.8.8/x",
            "http://100.128.0.1/x",
            "http://127.0.0.1.example.net/x",
            "http://localhost.example.net/x",
            "http://[2001:db8::1]/x",
        ] {
            assert!(!may(far, false) && may(far, true), "{far}");
        }
        // However it is written, it is an address.
        assert!(may("http://0x7f000001/x", false) && !may("http://134744072/x", false));
    }

    #[test]
    fn a_title_is_a_header_whatever_is_in_it() {
        assert_eq!(encoded("mac: a session crashed"), "mac: a session crashed");
        let long = "mac · žluťoučký kůň ".repeat(6);
        let header = encoded(&long);
        assert!(header.is_ascii() && header.split(' ').all(|word| word.len() <= 75), "{header}");
        let text = header.split(' ').map(|word| {
            let word = word.trim_start_matches("=?UTF-8?B?").trim_end_matches("?=");
            String::from_utf8(BASE64_STANDARD.decode(word).unwrap()).unwrap()
        });
        assert_eq!(text.collect::<String>(), long);
        assert!(HeaderValue::try_from(encoded("a\r\nX: y")).is_ok());
    }
}
