//! Whether another host has gone on with a session of this one, or with what a member gives of one: where no fleet
//! tells, a bucket does.
//!
//! With that nobody goes on in silence then. Not here: reading the bucket (the daemon), and how what it has is put
//! behind what is here ([`crate::local::resume::place`]).

use std::path::{Path, PathBuf};

use rrd_proto::{
    HostState, Session, SessionKey, Timestamp, age,
    copy::{Ahead, CopyCall, CopyReply, Given, Looked},
};

use super::copy::{daemon, odd};
use crate::{
    ask::Answerer,
    cli::{ResumeArgs, ResumeFrom},
    clock,
    error::{CliError, Kind},
    local::resume,
    text::{self, counted},
};

/// What is to be done about it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// The copy of the place with this address is taken.
    pub(crate) taken: Option<String>,
    /// What a person is told.
    pub(crate) remarks: Vec<String>,
}

/// What is known of a session.
pub(crate) struct Known<'a> {
    pub(crate) session: &'a Session,
    /// All rows with its harness and id.
    pub(crate) copies: &'a [Session],
    /// Its transcript is not here any more.
    pub(crate) is_gone: bool,
    /// It is another host's, which gives this of it.
    pub(crate) given: Option<Given>,
}

impl Known<'_> {
    /// Where what there is to go on with is.
    fn place(&self) -> String {
        match &self.given {
            None => "here".to_owned(),
            Some(_) => format!("on {}", text::clean(&self.session.host)),
        }
    }
}

/// Looks whether a bucket is ahead of a session of this host, or of what another host gives. A bucket that does not
/// answer keeps nobody from going on with that, unless it was named.
///
/// # Errors
/// Where another host has gone on with it and nothing was said about that.
pub(crate) fn look(
    answerer: &Answerer,
    args: &ResumeArgs,
    own: &Known<'_>,
    state_dir: &Path,
) -> Result<Verdict, CliError> {
    let is_named = args.from == Some(ResumeFrom::Bucket);
    let ask = match &own.given {
        None => CopyCall::Ahead(own.session.key()),
        Some(given) => CopyCall::AheadOf(own.session.key(), given.clone()),
    };
    let asked = daemon(answerer).and_then(|daemon| daemon.copy(&ask)?.map_err(CliError::from));
    let looked = match asked {
        Ok(CopyReply::Looked(looked)) => looked,
        Ok(_) => return Err(odd()),
        Err(error) if is_named => return Err(error),
        Err(_) if !resume::was_enabled(state_dir) => Looked::default(),
        Err(error) => {
            let why = match answerer {
                Answerer::Scan(_) => "no daemon is here to ask a bucket",
                Answerer::Daemon(_) => error.message(),
            };
            Looked { unasked: vec![why.to_owned()], ..Looked::default() }
        }
    };
    judge(&looked, args, own, clock::now())
}

/// Looks whether this host's is what there is of the thread in which a fork begins, as far as buckets tell: what is
/// redacted of it cannot be compared with what was forked. `lies_at` is where it is here.
///
/// # Errors
/// Where another host went on with that thread, apart from this one.
pub(crate) fn went_on_nowhere_else(
    answerer: &Answerer,
    base: &SessionKey,
    lies_at: Option<PathBuf>,
) -> Result<(), CliError> {
    // It may have come a moment ago, and the daemon not know it yet.
    let given = Given { node: None, transcript: lies_at };
    let asked = daemon(answerer)?.copy(&CopyCall::AheadOf(base.clone(), given))?;
    let Ok(CopyReply::Looked(looked)) = asked else { return Ok(()) };
    let mut all = looked.ahead.iter().chain(&looked.others);
    let Some(ahead) = all.find(|it| it.is_apart) else { return Ok(()) };
    let why = format!(
        "it is a fork, and its beginning lies in session {id}, with which {host} went on: which of both it is a fork \
         of cannot be told, for the one here is redacted",
        id = base.session_id,
        host = text::clean(&ahead.host)
    );
    Err(CliError::new(Kind::NotFound, why).hint(format!("rrd resume {} first", base.session_id)))
}

fn judge(
    looked: &Looked,
    args: &ResumeArgs,
    own: &Known<'_>,
    now: Timestamp,
) -> Result<Verdict, CliError> {
    let is_named = args.from == Some(ResumeFrom::Bucket);
    let place = own.place();
    let not_asked =
        |why: &String| format!("whether another host went on with it is not known: {why}");
    let mut remarks: Vec<String> = looked.unasked.iter().map(not_asked).collect();
    let Some(ahead) = &looked.ahead else {
        match looked.unasked.first() {
            // The bucket is asked for all of it.
            _ if own.is_gone => return Ok(Verdict::default()),
            _ if !is_named => {}
            Some(why) => {
                let error = CliError::new(Kind::NotFound, why.clone());
                return Err(error.hint("leave --from out to go on with what is here"));
            }
            None if looked.places == 0 => {
                let error = CliError::new(Kind::NotFound, "this host knows no bucket");
                return Err(error.hint("leave --from out, or rrd mirror enable URL names one"));
            }
            None => remarks.push(format!("nothing newer is there: what is {place} goes on")),
        }
        return Ok(Verdict { taken: None, remarks });
    };
    let others = looked.others.iter().map(|other| match other.records {
        Some(0) => nothing_newer(other, now),
        _ => said(other, &place, now),
    });
    if ahead.records == Some(0) {
        remarks.push(nothing_newer(ahead, now));
        remarks.extend(others);
        remarks.push(format!("what is {place} goes on"));
        return Ok(Verdict { taken: None, remarks });
    }
    let (said, host, id) =
        (said(ahead, &place, now), text::clean(&ahead.host), &own.session.session_id);
    let refused = |why: String, hint: String| {
        let error = CliError::new(Kind::NotFound, why);
        let all = remarks.iter().cloned().chain(others.clone());
        Err(all.fold(error, CliError::fact).hint(hint))
    };
    let is_taken = match (args.fork, ahead.is_apart) {
        (true, _) => is_named || own.is_gone,
        (false, true) if is_named => {
            let hint = format!(
                "rrd resume {id} --from bucket --fork begins another one with what {host} has"
            );
            return refused(said, hint);
        }
        (false, true) if args.take_over => false,
        (false, true) => {
            let hint = format!(
                "rrd resume {id} --take-over goes on with what is {place}; --fork does so under a new id, with --from \
                 bucket with what {host} has"
            );
            return refused(said, hint);
        }
        (false, false) if args.take_over => true,
        (false, false) => {
            let is_it = |row: &Session| row.node_id.as_deref() == Some(&*ahead.node);
            let is_live = |row: &Session| row.host_state == HostState::Live && is_it(row);
            let why = match own.copies.iter().any(is_live) {
                true => said,
                false => format!("{said}; nobody knows whether it goes on there"),
            };
            let hint = format!(
                "if it does not go on there, rrd resume {id} --take-over brings that and goes on here; else --fork \
                 begins another one, with --from bucket from what {host} has"
            );
            return refused(why, hint);
        }
    };
    remarks.push(said);
    remarks.extend(others.clone());
    if !is_taken {
        remarks.push(format!("that is left out: what is {place} goes on, not what {host} has"));
    }
    Ok(Verdict { taken: is_taken.then(|| ahead.url.clone()), remarks })
}

fn nothing_newer(ahead: &Ahead, now: Timestamp) -> String {
    let (host, url) = (text::clean(&ahead.host), text::clean(&ahead.url));
    // Where it comes from is no host that took it.
    let did = match ahead.took_over_at {
        Some(at) => format!("{host} took it over {} ago", age(now, at)),
        None => format!("{host} wrote it there last, {} ago", age(now, ahead.at)),
    };
    format!("{did}, and nothing newer is in {url}; if it is open on {host}, end it there")
}

/// `place`: where what it is compared with is.
fn said(ahead: &Ahead, place: &str, now: Timestamp) -> String {
    let Ahead { url, at, .. } = ahead;
    let (host, at) = (text::clean(&ahead.host), age(now, *at));
    let more = match ahead.records {
        Some(1) => format!("has 1 record that is not {place}"),
        Some(records) => format!("has {} that are not {place}", counted(records, "record")),
        None => format!("may have more of it than is {place}"),
    };
    let apart = match ahead.is_apart {
        true => format!("; what is {place} has others, too: they went apart"),
        false => String::new(),
    };
    format!("{host} went on with it: {} {more}, brought there {at} ago{apart}", text::clean(url))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::tests::session;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn ahead(records: Option<u64>, is_apart: bool) -> Looked {
        let ahead = Ahead {
            url: "s3://b/p".to_owned(),
            host: "beta".to_owned(),
            node: "n".to_owned(),
            at: NOW.plus(-180_000),
            took_over_at: Some(NOW.plus(-180_000)),
            records,
            is_apart,
        };
        Looked { places: 1, ahead: Some(ahead), ..Looked::default() }
    }

    fn args(flags: &str) -> ResumeArgs {
        ResumeArgs {
            fork: flags.contains('f'),
            take_over: flags.contains('t'),
            from: flags.contains('b').then_some(ResumeFrom::Bucket),
            ..ResumeArgs::default()
        }
    }

    fn judged(
        looked: &Looked,
        flags: &str,
        copies: &[Session],
        is_gone: bool,
    ) -> Result<Verdict, CliError> {
        judge(
            looked,
            &args(flags),
            &Known { session: &session("7f2c"), copies, is_gone, given: None },
            NOW,
        )
    }

    #[test]
    fn what_another_host_went_on_with_is_never_passed_over_in_silence() {
        for (flags, is_apart, expected) in [
            ("", false, None),
            ("b", false, None),
            ("t", false, Some(true)),
            ("bt", false, Some(true)),
            ("f", false, Some(false)),
            ("bf", false, Some(true)),
            ("", true, None),
            ("t", true, Some(false)),
            ("b", true, None),
            ("bt", true, None),
            ("f", true, Some(false)),
            ("bf", true, Some(true)),
        ] {
            let judged = judged(&ahead(Some(2), is_apart), flags, &[], false);
            let case = format!("{flags:?} {is_apart}: {judged:?}");
            match (judged, expected) {
                (Ok(verdict), Some(is_taken)) => {
                    let said = &verdict.remarks[0];
                    assert!(
                        verdict.taken.is_some() == is_taken && said.contains("beta went on"),
                        "{case}"
                    );
                }
                (Err(error), None) => {
                    let why = error.message();
                    let known = "s3://b/p has 2 records that are not here, brought there 3m ago";
                    assert!(why.contains(known), "{case}");
                    assert_eq!(why.contains("went apart"), is_apart, "{case}");
                    assert_eq!(why.contains("nobody knows"), !is_apart, "{case}");
                }
                _ => panic!("{case}"),
            }
        }
        // Of a member that can be asked it is known.
        let mut member = session("7f2c");
        (member.node_id, member.host_state) = (Some("n".to_owned()), HostState::Live);
        let error = judged(&ahead(Some(1), false), "", &[member], false).unwrap_err();
        assert!(
            error.message().contains("1 record that") && !error.message().contains("nobody"),
            "{error:?}"
        );
        // It may be about to go on there.
        for flags in ["", "b", "t", "bt", "f", "bf"] {
            let verdict = judged(&ahead(Some(0), false), flags, &[], false).unwrap();
            let said = &verdict.remarks[0];
            assert!(
                verdict.taken.is_none() && said.contains("beta took it over 3m ago"),
                "{verdict:?}"
            );
        }
        // It is only where it came from.
        let mut origin = ahead(Some(0), false);
        origin.ahead.iter_mut().for_each(|ahead| ahead.took_over_at = None);
        let verdict = judged(&origin, "", &[], false).unwrap();
        assert!(verdict.remarks[0].contains("beta wrote it there last, 3m ago"), "{verdict:?}");
        // Nothing is here.
        let gone = ahead(None, false);
        assert!(judged(&gone, "", &[], true).is_err());
        for flags in ["t", "f", "bf"] {
            assert!(
                judged(&gone, flags, &[], true).unwrap().taken.as_deref() == Some("s3://b/p"),
                "{flags}"
            );
        }
    }

    #[test]
    fn of_what_another_host_gives_it_says_whose_that_is() {
        let session = session("7f2c");
        let given = Some(Given { node: None, transcript: None });
        let known = Known { session: &session, copies: &[], is_gone: false, given };
        let judged = |is_apart, flags| judge(&ahead(Some(2), is_apart), &args(flags), &known, NOW);
        let on = format!("on {}", session.host);
        let error = judged(false, "").unwrap_err();
        assert!(error.message().contains(&format!("2 records that are not {on}")), "{error:?}");
        let error = judged(true, "").unwrap_err();
        assert!(error.message().contains(&format!("what is {on} has others, too")), "{error:?}");
        assert!(judged(false, "t").unwrap().taken.is_some());
        for (is_apart, flags) in [(true, "t"), (false, "f")] {
            let verdict = judged(is_apart, flags).unwrap();
            let left = format!("what is {on} goes on, not what beta has");
            assert!(verdict.taken.is_none() && verdict.remarks[1].contains(&left), "{verdict:?}");
        }
    }

    #[test]
    fn a_bucket_that_does_not_answer_stops_only_who_named_it() {
        let silent =
            Looked { places: 1, unasked: vec!["s3://b: silent".to_owned()], ..Looked::default() };
        let judged = |looked: &Looked, flags| judged(looked, flags, &[], false);
        let verdict = judged(&silent, "").unwrap();
        assert!(
            verdict.taken.is_none() && verdict.remarks[0].ends_with("s3://b: silent"),
            "{verdict:?}"
        );
        assert!(judged(&silent, "b").unwrap_err().message().contains("silent"));
        let same = Looked { unasked: Vec::new(), ..silent };
        assert_eq!(judged(&same, "").unwrap(), Verdict::default());
        let verdict = judged(&same, "b").unwrap();
        assert!(
            verdict.taken.is_none() && verdict.remarks[0].contains("nothing newer"),
            "{verdict:?}"
        );
        assert!(judged(&Looked::default(), "b").unwrap_err().message().contains("no bucket"));
    }
}
