//! Clones that are made otherwise than by `git clone` alone, and ways to them.

use std::{fs, os::unix::fs::symlink, path::PathBuf};

use super::{Host, SECRET, append, session, there};

impl Host {
    fn configures(&self, name: &str, config: &str) -> PathBuf {
        append(&self.path(name).join(".git/HEAD"), "ref: refs/heads/main\n");
        append(&self.path(name).join(".git/config"), config);
        self.path(name)
    }
}

#[test]
fn an_excluded_repository_stays_out_however_its_clone_is_laid_out() {
    let mut host = Host::new("one");
    let bucket = host.path("bucket");
    let public = "[remote \"origin\"]\n\turl = git@example.com:acme/public.git\n";
    let secret = format!("[remote \"origin\"]\n\turl = {SECRET}\n");
    let clone = host.clones_from("src/secret", SECRET);
    fs::create_dir_all(clone.join("app")).unwrap();
    symlink(clone.join("app"), host.path("link")).unwrap();
    let bare = host.path("src/secret.git");
    append(&bare.join("HEAD"), "ref: refs/heads/main\n");
    append(&bare.join("config"), "[core]\n\tbare = true\n");
    ["objects", "refs"].iter().for_each(|name| fs::create_dir(bare.join(name)).unwrap());
    append(&host.path("shared.inc"), &secret);
    append(&host.path(".gitconfig"), "[url \"git@example.com:acme/\"]\n\tinsteadOf = work:\n");
    let places = [
        host.path("link"),
        bare,
        host.configures("included", "[include]\n\tpath = ~/shared.inc\n"),
        host.configures("short", "[remote \"origin\"]\n\turl = work:secret\n"),
        host.configures("encoded", "[remote \"a\"]\n\turl = https://h/acme/%73ecret\n"),
        host.configures("pushed", &format!("[remote \"origin\"]\n\tpushurl = {SECRET}\n")),
        host.configures("several", &format!("{public}[remote \"up\"]\n\turl = {SECRET}\n")),
        host.configures("either", &format!("{public}\tpushurl = {SECRET}\n")),
    ];
    let other = host.configures("src/public", public);
    let ids: Vec<String> = (1..=places.len()).map(session).collect();
    for (id, place) in ids.iter().zip(&places) {
        host.turns(id, place, "classified");
    }
    let id = session(100);
    host.turns(&id, &other, "anything");
    host.start();
    ids.iter().chain([&id]).for_each(|id| {
        host.looks_up(id);
    });
    host.mirrors_to(&bucket, &["--exclude-repo", "secret"]);
    assert!(host.brings(&bucket, &id).contains("anything"));
    for (id, place) in ids.iter().zip(&places) {
        assert_eq!(there(&bucket, id), "", "{}", place.display());
    }
    // What is shown is one of them.
    assert_eq!(host.shows(&ids[0]).repo.as_deref(), Some("secret"));
    assert_eq!(host.shows(&ids[6]).repo.as_deref(), Some("public"));
}

#[test]
fn what_is_no_name_is_refused_before_anything_goes_out() {
    let host = Host::new("one");
    for name in [" secret", "secret\n", "\"secret\"", "secret,other", "sec*"] {
        let said =
            host.rrd(&["mirror", "enable", "file:///nowhere", "--exclude-repo", name]).output();
        let said = String::from_utf8(said.unwrap().stderr).unwrap();
        assert!(said.contains("--exclude-repo"), "{name:?}: {said}");
    }
}
