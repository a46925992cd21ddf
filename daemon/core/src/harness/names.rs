//! Ids in file names. Records know better where they name one.

/// Whether `text` is spelt like a UUID.
pub(crate) fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// The id in a name like `<id>` or `<time>_<id>`, as pi and its relatives name sessions.
pub(super) fn after_time(stem: &str) -> &str {
    timed(stem).unwrap_or(stem)
}

/// The id in a name like `<time>_<id>`, if it is one.
pub(super) fn timed(stem: &str) -> Option<&str> {
    stem.split_once('_').filter(|(time, id)| is_time(time) && !id.is_empty()).map(|(_, id)| id)
}

/// `2026-11-20T10-42-27-947Z`.
fn is_time(text: &str) -> bool {
    text.len() >= 19
        && text.bytes().enumerate().all(|(at, byte)| match at {
            4 | 7 | 13 | 16 => byte == b'-',
            10 => byte == b'T',
            _ => byte.is_ascii_digit() || at >= 19,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_may_follow_a_time() {
        const ID: &str = "01a1f88c-edea-7795-8202-1cd3dde21e8e";
        assert_eq!(after_time(&format!("2026-11-20T10-42-27-947Z_{ID}")), ID);
        for stem in
            [ID, "my_session", "2026-11-20T10-42-27-947Z", "2026-11-20T10-42-27-947Z_", "é_x", ""]
        {
            assert_eq!(after_time(stem), stem);
        }
        assert!(
            is_uuid(ID) && !is_uuid(&ID[1..]) && !is_uuid("01a1f88c-edea-7795-8202-1cd3dde21e8g")
        );
    }
}
