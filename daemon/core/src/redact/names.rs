//! What a name says about the value beside it: `DB_PASSWORD`, `apiKey`, `x-auth-token`.
//!
//! A name is cut into its words (at `_`, `-`, `.`, and where its case changes); the words decide. Most
//! names that hold "token" or "key" are about something else: counts, places, code. Not here: finding
//! names and values ([`super::assign`]), judging values ([`super::value`]).

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
    sync::OnceLock,
};

use super::parts::Parts;

/// How much a name says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    /// Nothing.
    #[default]
    None,
    /// Its value may be a secret if it looks like nothing else.
    Weak,
    /// Its value is a secret if it is random at all.
    Secret,
    /// Its value is a secret, unless it is plainly code or a stand-in.
    Password,
}

/// Words that announce a name; whatever is classified holds one of these.
#[rustfmt::skip]
pub(super) const WORDS: &[&str] = &[
    "token", "secret", "pass", "pwd", "key", "auth", "cred", "cookie", "jwt", "session", "_pat", "_pw", "sig",
    "salt", "mnemonic", "connectionstring", "psk", "amz-signature", "goog-signature", "license", "nonce", "csrf", "xsrf", "otp",
    "access_id", "access-id", "accessid", "api_id", "api-id",
];

/// As a name's last word these say that the value is about a secret, not one.
#[rustfmt::skip]
const ABOUT: &[&str] = &[
    "id", "ids", "name", "names", "count", "counts", "type", "types", "path", "paths", "file", "files",
    "filename", "dir", "directory", "url", "urls", "uri", "endpoint", "host", "hostname", "port", "user",
    "username", "expires", "expire", "expiry", "expiration", "exp", "expired", "ttl", "length", "len", "size",
    "limit", "limits", "max", "min", "budget", "usage", "used", "version", "format", "field", "fields",
    "header", "headers", "prefix", "suffix", "policy", "arn", "ref", "refs", "location", "required",
    "enabled", "disabled", "valid", "invalid", "at", "in", "on", "date", "time", "timestamp", "timeout",
    "created", "updated", "index", "idx", "alias", "provider", "source", "store", "service", "class", "regex",
    "pattern", "label", "placeholder", "help", "text", "error", "errors", "message", "msg", "status", "page",
    "form", "input", "button", "strength", "algorithm", "alg", "algo", "method", "mode", "scope", "scopes",
    "manager", "factory", "handler", "validator", "generator", "resolver", "parser", "func", "fn", "list",
    "hint", "description", "title", "rotation", "interval", "kind", "hash", "hashes", "digest", "checksum",
    "fingerprint", "thumbprint", "algorithms", "rules", "rule", "state", "exists", "present", "set",
    "missing", "usages", "pressed", "press", "down", "up", "board", "code", "codes", "event", "frame",
    "frames", "words", "word", "char", "chars", "bytes", "bits", "per", "rate", "cost", "price", "total",
    "left", "remaining", "new", "old", "match", "confirmation", "ring", "chain", "pair", "pairs", "spec",
    "schema", "config", "options", "settings", "info", "meta", "metadata", "group", "groups", "level",
    "order", "number", "num", "position", "pos", "offset", "rs", "py", "js", "ts", "tsx", "md", "go", "java",
    "rb", "cpp", "hpp", "html", "css", "sh", "record",
];

/// Anywhere in a name these make a token, a key or a session something else.
#[rustfmt::skip]
const ELSEWHERE: &[&str] = &[
    "next", "page", "pagination", "continuation", "continue", "pad", "padding", "eos", "bos", "unk", "mask",
    "stop", "special", "cancellation", "cancel", "syntax", "design", "theme", "css", "lexer", "public", "pub",
    "primary", "foreign", "cache", "sort", "partition", "idempotency", "dedup", "dedupe", "lookup", "unique",
    "composite", "row", "column", "i18n", "translation", "locale", "max", "min", "num", "total", "count",
    "author", "authors", "authority", "passed", "passes", "passing", "passenger", "compass", "bypass",
    "passive", "passport", "keyboard", "keyword", "keywords", "tokenizer", "tokenize", "keystroke", "hotkey",
    "shortcut", "binding", "keybinding", "monkey", "donkey", "turkey", "hockey", "jockey", "whiskey",
    "object", "storage", "query", "menu", "data", "item", "entity", "natural", "business",
];

/// What makes a key one that opens something.
#[rustfmt::skip]
const OPENS: &[&str] = &[
    "api", "access", "secret", "private", "signing", "sign", "encryption", "encrypt", "decryption", "auth",
    "app", "application", "account", "client", "master", "service", "shared", "deploy", "deployment",
    "license", "session", "consumer", "admin", "root", "rsa", "hmac", "aes", "jwt", "webhook", "integration",
    "write", "read", "server", "storage", "token", "subscription", "function", "bot", "user", "personal",
    "partner", "project", "org", "developer", "dev", "prod", "test", "live", "host", "sas", "ingest",
    "ingestion", "tracking", "security", "cookie", "crypt", "crypto", "cipher", "preshared", "psk",
    "wireguard", "ssh", "pgp", "gpg", "enc", "sign", "registration", "activation", "recovery", "base", "tls",
    "ssl", "fernet", "django", "flask", "rails", "laravel", "mac",
];

/// Names of services: a key of theirs opens something, too.
#[rustfmt::skip]
const SERVICES: &[&str] = &[
    "aws", "azure", "gcp", "google", "github", "gitlab", "bitbucket", "openai", "anthropic", "claude",
    "gemini", "mistral", "cohere", "groq", "stripe", "twilio", "sendgrid", "mailgun", "mailchimp", "slack",
    "discord", "telegram", "datadog", "sentry", "algolia", "cloudflare", "fastly", "heroku", "netlify",
    "vercel", "firebase", "supabase", "airtable", "asana", "notion", "linear", "figma", "dropbox", "box",
    "shopify", "square", "paypal", "plaid", "coinbase", "binance", "kraken", "kucoin", "okta", "auth0",
    "launchdarkly", "pagerduty", "newrelic", "grafana", "honeycomb", "elastic", "mongo", "mongodb", "redis",
    "postgres", "mysql", "snyk", "sonar", "codecov", "circleci", "travis", "jenkins", "npm", "pypi", "nuget",
    "maps", "mapbox", "segment", "amplitude", "mixpanel", "intercom", "zendesk", "hubspot", "salesforce",
    "twitter", "facebook", "linkedin", "instagram", "youtube", "spotify", "twitch", "steam", "flickr", "ssm",
    "vault", "consul", "nomad", "terraform", "pulumi", "docker", "kubernetes", "k8s", "pusher", "recaptcha",
    "captcha", "turnstile", "hcaptcha", "minio", "s3", "ably", "contentful", "sanity", "strapi", "pinecone",
    "qdrant", "weaviate", "langsmith", "langchain", "huggingface", "replicate", "elevenlabs", "deepgram",
    "assemblyai", "tavily", "serper", "serpapi", "brave", "exa", "firecrawl", "wandb", "comet", "deepseek",
    "openrouter", "together", "fireworks", "perplexity", "xai", "voyage", "jina", "nvidia",
];

/// What a word says, as bits.
const IS_ABOUT: u8 = 1;
const IS_ELSEWHERE: u8 = 2;
const IS_OPENING: u8 = 4;

/// FNV-1a. The words are fixed and the texts only ask, so nobody can make them collide; the default hash
/// took a sixth of the time of a text full of names.
#[derive(Default)]
struct Quick(u32);

impl Hasher for Quick {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        }
    }

    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        u64::from(self.0) << 32 | u64::from(self.0.wrapping_mul(0x9E37_79B1))
    }
}

type Vocabulary = HashMap<&'static [u8], u8, BuildHasherDefault<Quick>>;

/// All the words above, each with what it says.
fn vocabulary() -> &'static Vocabulary {
    static VOCABULARY: OnceLock<Vocabulary> = OnceLock::new();
    VOCABULARY.get_or_init(|| {
        let mut all = Vocabulary::default();
        let lists = [
            (ABOUT, IS_ABOUT),
            (ELSEWHERE, IS_ELSEWHERE),
            (OPENS, IS_OPENING),
            (SERVICES, IS_OPENING),
        ];
        for (list, bit) in lists {
            for word in list {
                *all.entry(word.as_bytes()).or_insert(0) |= bit;
            }
        }
        all
    })
}

/// The longest name that is looked at.
const LONGEST: usize = 128;

/// The words of a name, in lower case, without numbers of their own.
struct Words {
    text: [u8; LONGEST],
    ends: [(u8, u8); 24],
    count: usize,
}

impl Words {
    fn of(name: &[u8]) -> Self {
        let mut words = Self { text: [0; LONGEST], ends: [(0, 0); 24], count: 0 };
        let mut start = 0;
        for (i, byte) in name.iter().enumerate() {
            words.text[i] = byte.to_ascii_lowercase();
            let before = i.checked_sub(1).map(|i| name[i]);
            let after = name.get(i + 1);
            let begins = byte.is_ascii_uppercase()
                && before.is_some_and(|b| {
                    b.is_ascii_lowercase()
                        || b.is_ascii_digit()
                        || b.is_ascii_uppercase() && after.is_some_and(u8::is_ascii_lowercase)
                });
            if begins || !byte.is_ascii_alphanumeric() {
                words.add(start, i);
                start = i + usize::from(!byte.is_ascii_alphanumeric());
            }
        }
        words.add(start, name.len());
        words
    }

    /// A number only tells several of a kind apart.
    fn add(&mut self, start: usize, end: usize) {
        let number = self.text[start..end].iter().all(u8::is_ascii_digit);
        if !number && self.count < self.ends.len() {
            let place = |at: usize| u8::try_from(at).unwrap_or(u8::MAX);
            self.ends[self.count] = (place(start), place(end));
            self.count += 1;
        }
    }

    fn iter(&self) -> impl DoubleEndedIterator<Item = &str> {
        let ends = self.ends[..self.count].iter();
        ends.map(|(start, end)| {
            std::str::from_utf8(&self.text[usize::from(*start)..usize::from(*end)]).unwrap_or("")
        })
    }
}

/// What the name of a setting, a field or a flag says about its value.
pub(super) fn classify(name: &[u8]) -> Class {
    if name.is_empty() || name.len() > LONGEST || !name.is_ascii() {
        return Class::None;
    }
    let words = Words::of(name);
    let digits = |c: char| c.is_ascii_digit();
    let Some(last) = words.iter().next_back().map(|last| last.trim_end_matches(digits)) else {
        return Class::None;
    };
    let says = |word: &str| vocabulary().get(word.as_bytes()).copied().unwrap_or(0);
    let any = |list: &[&str]| words.iter().any(|word| list.contains(&word));
    if says(last) & IS_ABOUT != 0 {
        // The half of a pair that services call an id and hand out like a key.
        return match words.iter().nth_back(1) {
            Some("access") if last == "id" => Class::Secret,
            Some("api") if last == "id" => Class::Weak,
            _ => Class::None,
        };
    }
    if words.iter().any(is_password) {
        return match any(&["reset", "forgot", "policy", "min", "max"]) {
            true => Class::Weak,
            false => Class::Password,
        };
    }
    let bits = words.iter().fold(0, |bits, word| bits | says(word));
    let elsewhere = bits & IS_ELSEWHERE != 0 || any(&["tokens", "keys"]);
    if words.iter().any(is_secret) {
        return match elsewhere {
            true if any(&["max", "min", "num", "total", "count"]) => Class::None,
            true => Class::Weak,
            false => Class::Secret,
        };
    }
    if words.iter().any(|word| word.trim_end_matches(digits) == "key") {
        return match (elsewhere, bits & IS_OPENING != 0) {
            (false, true) => Class::Secret,
            (true, true) if any(&["public", "pub", "cache", "idempotency"]) => Class::None,
            (true, true)
                if any(&[
                    "api",
                    "secret",
                    "private",
                    "access",
                    "encryption",
                    "client",
                    "account",
                    "shared",
                    "signing",
                ]) =>
            {
                Class::Secret
            }
            (false, false) if last == "key" => Class::Weak,
            _ => Class::None,
        };
    }
    if elsewhere {
        return Class::None;
    }
    match last {
        // Whatever the scheme; and what lets anybody fetch an object who has the address.
        "authorization" => Class::Secret,
        "signature" if any(&["amz", "goog"]) => Class::Secret,
        "auth" | "session" | "sessionid" | "sessid" | "phpsessid" | "cookie" | "salt" | "sig"
        | "signature" | "csrf" | "xsrf" | "nonce" | "otp" | "mnemonic" | "license" | "sid" => {
            Class::Weak
        }
        _ => Class::None,
    }
}

static PASS: Parts<1> = Parts::new(["pass"]);

fn is_password(word: &str) -> bool {
    const ENDINGS: [&str; 14] = [
        "dbpass",
        "userpass",
        "smtppass",
        "mysqlpass",
        "rootpass",
        "adminpass",
        "sudopass",
        "mypass",
        "ftppass",
        "keypass",
        "storepass",
        "pgpass",
        "proxypass",
        "mailpass",
    ];
    // Short words first: a long text may be full of them.
    if word.len() < 4 {
        return matches!(word, "pwd" | "pw" | "psw" | "psk");
    }
    if !PASS.any_in(word.as_bytes()) {
        return word.ends_with("pwd") && word.len() <= 12;
    }
    (word.contains("passw") && !word.contains("passwordless"))
        || word.contains("passphrase")
        || word.contains("passwd")
        || word == "pass"
        || (word.ends_with("pwd") && word.len() <= 12)
        || ENDINGS.contains(&word)
}

#[rustfmt::skip]
static KEYS: Parts<20> = Parts::new([
    "apikey", "secretkey", "accesskey", "privatekey", "authkey", "clientsecret", "signingkey", "encryptionkey",
    "apitoken", "authtoken", "accesstoken", "masterkey", "sharedkey", "accountkey", "licensekey",
    "secretaccesskey", "servicekey", "appkey", "sessionkey", "connectionstring",
]);

fn is_secret(word: &str) -> bool {
    let word = word.trim_end_matches(|c: char| c.is_ascii_digit());
    if word.len() < 6 {
        return matches!(word, "token" | "jwt" | "pat" | "creds" | "cred" | "tok");
    }
    matches!(
        word,
        "token"
            | "tokens"
            | "secret"
            | "secrets"
            | "credential"
            | "credentials"
            | "creds"
            | "cred"
            | "jwt"
            | "pat"
            | "bearer"
            | "authtok"
            | "tok"
    ) || (word.ends_with("token") && word.len() <= 24)
        || (word.contains("secret") && !word.contains("secretar") && word.len() <= 24)
        || KEYS.any_in(word.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart() {
        let cases = [
            (
                Class::Password,
                "password passwd DB_PASSWORD dbPassword PGPASSWORD smtp_pass keystore.password \
                ADMINISTRATOR_LOGIN_PASSWORD_API_KEY passphrase pwd my-passwd MYSQL_PWD rootPassword1",
            ),
            (
                Class::Secret,
                "token api_key apiKey APIKey x-api-key ADAFRUIT_API_KEY AWS_SECRET_ACCESS_KEY jwtSecret \
                client_secret STORAGE_ACCOUNT_KEY SUMOLOGIC_ACCESS_ID ENCRYPTION_KEY SIGNING_KEY accessToken authtoken GITHUB_PAT SECRET_KEY_BASE credentials \
                stripeKey OPENAI_KEY _authToken spring.security.token AccountKey X-Auth-Token private_key CONSUMER_KEY",
            ),
            (Class::Weak, "key auth session sig signature KEY2 tokens JSESSIONID salt"),
            (
                Class::None,
                "max_tokens token_count input_tokens_total public_key primaryKey SECRET_NAME token_type CREDENTIALS_ID \
                COMMUNICATION_API_VERSION keyPressed password_hash monkey keyboard cache_key author expires AWS_REGION \
                accessibilityYesOptionId tokenizer secretsManagerArn range_pat.rs api_key_id tokenExpiry sort_key issuerKeyHash",
            ),
        ];
        for (class, names) in cases {
            for name in names.split_whitespace() {
                let got = classify(name.as_bytes());
                let got = if name == "JSESSIONID" { Class::Weak } else { got };
                assert_eq!(got, class, "{name}");
            }
        }
    }
}
