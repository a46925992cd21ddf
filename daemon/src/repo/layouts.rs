//! Layouts of clones as git makes them, with git's own answer beside ours where it is installed.

use std::process::{Command, Stdio};

use super::*;

const SECRET: &str = "git@example.com:acme/secret.git";
const PUBLIC: &str = "git@example.com:acme/public.git";

/// A home, in which git knows nothing of who runs this.
struct Home {
    dir: tempfile::TempDir,
    has_git: bool,
}

impl Home {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let home = Self { dir, has_git: true };
        let has_git = home.git(Path::new("/"), &["--version"]).is_some();
        Self { has_git, ..home }
    }

    fn path(&self, name: &str) -> PathBuf {
        real(self.dir.path()).unwrap().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// A clone with this in its configuration.
    fn clones(&self, name: &str, config: &str) -> PathBuf {
        self.holds(&format!("{name}/.git"), config);
        self.path(name)
    }

    /// A repository, its files elsewhere or nowhere.
    fn holds(&self, name: &str, config: &str) -> PathBuf {
        let is_bare = !name.ends_with(".git") || name.ends_with("secret.git");
        self.write(&format!("{name}/HEAD"), "ref: refs/heads/main\n");
        let core = format!("[core]\nrepositoryformatversion = 0\nbare = {is_bare}\n");
        self.write(&format!("{name}/config"), &format!("{core}{config}"));
        for folder in ["objects", "refs"] {
            fs::create_dir_all(self.path(name).join(folder)).unwrap();
        }
        self.path(name)
    }

    fn git(&self, directory: &Path, args: &[&str]) -> Option<String> {
        let done = Command::new("git")
            .args(args)
            .current_dir(directory)
            .env_clear()
            .envs(std::env::vars_os().filter(|(name, _)| name == "PATH" || name == "SystemRoot"))
            .envs([("HOME", self.dir.path()), ("GIT_CONFIG_NOSYSTEM", Path::new("1"))])
            .env("GIT_CEILING_DIRECTORIES", self.path("").parent().unwrap())
            .stderr(Stdio::null())
            .output()
            .ok()?;
        done.status.success().then(|| String::from_utf8(done.stdout).unwrap().trim().to_owned())
    }

    fn users(&self) -> Users {
        let files = [".config/git/config", ".gitconfig"].map(|file| self.path(file)).to_vec();
        Users { home: Some(self.path("")), files }
    }

    fn find(&self, directory: &Path) -> Option<Repo> {
        above(directory, &self.users()).unwrap()
    }

    /// What is shown of a directory, which is what git says.
    fn shows(&self, directory: &Path) -> Repo {
        let repo = self.find(directory).unwrap_or_default();
        if self.has_git {
            let said = self.git(directory, &["remote", "get-url", "origin"]);
            let said = said.unwrap_or_else(|| panic!("{}: {repo:?}", directory.display()));
            let said = Repo::new(None, Some(&said));
            assert_eq!(repo.remote, said.remote, "{}", directory.display());
            assert_eq!(repo.name, said.name, "{}", directory.display());
        }
        repo
    }
}

fn origin(url: &str) -> String {
    format!("[remote \"origin\"]\n\turl = {url}\n")
}

#[test]
fn a_remote_is_found_wherever_git_finds_it() {
    let home = Home::new();
    let secret = origin(SECRET);
    let mut places = vec![home.clones("plain", &secret)];
    // Without files beside it, with a name of its own, with its settings elsewhere.
    places.push(home.holds("secret.git", &secret));
    places.push(home.path("secret.git/refs"));
    home.holds("bare/.bare", &secret);
    home.write("bare/.git", "gitdir: ./.bare\n");
    places.push(home.path("bare"));
    home.holds("apart/gd", &secret.replace("[remote", "[core]\nbare = false\n[remote"));
    home.write("apart/w/.git", &format!("gitdir: {}\n", home.path("apart/gd").display()));
    places.push(home.path("apart/w"));
    // Settings in other files.
    home.write("inc/.git/more/remotes", &secret);
    home.write("inc/.git/first", "[include]\npath = more/remotes\n");
    places.push(home.clones("inc", "[include]\npath = first\npath = not there\n"));
    home.write("shared.inc", &secret);
    places.push(home.clones("inc-home", "[include]\n\tpath = ~/shared.inc\n"));
    let here = home.path("inc-if").display().to_string().replace('\\', "/");
    let condition = format!("[includeIf \"gitdir:{here}/\"]\npath = ~/shared.inc\n");
    places.push(home.clones("inc-if", &condition));
    let differ = "[extensions]\n\tworktreeConfig = true\n";
    home.write("differ/.git/config.worktree", &secret);
    places.push(home.clones("differ", differ));
    home.write("old/.git/remotes/origin", &format!("URL: {SECRET}\nPull: refs/heads/a:b\n"));
    places.push(home.clones("old", ""));
    home.write("older/.git/branches/origin", &format!("{SECRET}#main\n"));
    places.push(home.clones("older", ""));
    // What the user says for all of them.
    let users = "[url \"git@example.com:acme/\"]\n\tinsteadOf = work:\n\tinsteadOf = w:\n\
                 [url \"git@example.com:acme/secret.git\"]\n\tinsteadOf = \"work:!\"\n\
                 [remote \"mine\"]\n\turl = h:every/repository\n";
    home.write(".gitconfig", users);
    places.push(home.clones("short", &origin("work:secret.git")));
    places.push(home.clones("longest", &origin("work:!")));
    home.write(".config/git/config", "[include]\npath = more\n");
    home.write(".config/git/more", "[url \"git@example.com:acme/secret\"]\ninsteadOf = x:\n");
    places.push(home.clones("xdg", &origin("x:.git")));
    let own = format!("{}[url \"{SECRET}\"]\n\tinsteadOf = y\n", origin("y"));
    places.push(home.clones("own", &own));
    places.push(home.clones("two", &format!("{secret}\turl = {PUBLIC}\n")));
    for (name, config) in [
        ("dotted", format!("[remote.origin]\nurl = {SECRET}\n")),
        ("quoted", origin("\"work:\"secret.git")),
    ] {
        places.push(home.clones(name, &config));
    }
    for place in places {
        let repo = home.shows(&place);
        assert_eq!(repo.name.as_deref(), Some("secret"), "{}", place.display());
        assert!(!repo.names().any(|name| name == "repository"), "{repo:?}");
    }
}

#[test]
fn what_a_clone_is_called_beside_what_is_shown() {
    let home = Home::new();
    home.write(".gitconfig", &format!("[url \"{SECRET}\"]\npushInsteadOf = {PUBLIC}-\n"));
    let shown = origin(PUBLIC);
    for (name, config) in [
        ("upstream", format!("{shown}[remote \"up\"]\nurl = {SECRET}\n")),
        ("pushed", format!("{shown}\tpushurl = {SECRET}\n")),
        ("second", format!("{shown}\turl = {SECRET}\n")),
        ("push-rule", format!("{shown}[remote \"b\"]\nurl = {PUBLIC}-\n")),
        ("maybe", format!("{shown}[includeIf \"onbranch:no\"]\npath = ~/no.inc\n")),
    ] {
        home.write("no.inc", &origin(SECRET));
        let place = home.clones(name, &config);
        let repo = home.shows(&place);
        assert_eq!(repo.name.as_deref(), Some("public"), "{name}");
        assert!(repo.names().any(|name| name == "secret"), "{name}: {repo:?}");
    }
    // Git says only what it is called, and not where it is.
    let place = home.clones("pushed-only", &format!("[remote \"origin\"]\npushurl = {SECRET}\n"));
    assert_eq!(home.find(&place).unwrap().name.as_deref(), Some("secret"));
    let plain = home.clones("plain", &shown);
    assert!(home.shows(&plain).also.is_empty());
    // Of another worktree, and not said to differ.
    home.write("plain/.git/config.worktree", &origin(SECRET));
    assert!(home.shows(&plain).names().eq(["public", "secret"]));
    // What is no repository by what is in it hides none.
    for (name, head) in [("a", "nothing"), ("b", "ref: elsewhere"), ("c", "0123abc")] {
        let place = home.holds(&format!("plain/{name}"), &origin(SECRET));
        home.write(&format!("plain/{name}/HEAD"), head);
        assert_eq!(home.shows(&place).name.as_deref(), Some("public"), "{head}");
    }
    let place = home.holds("plain/detached", &origin(SECRET));
    home.write("plain/detached/HEAD", "0123456789012345678901234567890123456789\n");
    assert_eq!(home.find(&place).unwrap().name.as_deref(), Some("secret"));
}

#[cfg(unix)]
#[test]
fn a_clone_of_a_clone_is_called_by_what_that_one_is() {
    let home = Home::new();
    let named = |place: &Path| {
        let repo = home.find(place).unwrap();
        (repo.name.clone().unwrap(), repo.names().any(|name| name == "secret"))
    };
    home.clones("src/one", &origin(SECRET));
    home.holds("src/bare.git", &format!("bare = true\n{}", origin(SECRET)));
    home.write("src/tree/.git", "gitdir: ../one/.git/worktrees/x\n");
    home.write("src/one/.git/worktrees/x/commondir", "../..\n");
    home.write("src/one/.git/worktrees/x/HEAD", "ref: refs/heads/x\n");
    for (url, name, is_secret) in [
        (home.path("src/one").display().to_string(), "one", true),
        (format!("file://{}", home.path("src/%6fne/.git").display()), "one", true),
        (home.path("src/bare").display().to_string(), "bare", true),
        (home.path("src/tree").display().to_string(), "tree", true),
        ("../src/one/.".to_owned(), "one", true),
        (home.path("src/gone").display().to_string(), "gone", false),
        (home.path("src").display().to_string(), "src", false),
        ("h:src/one".to_owned(), "one", false),
    ] {
        let place = home.clones("work", &origin(&url));
        assert_eq!(named(&place), (name.to_owned(), is_secret), "{url}");
    }
    // One after the other, so far and not in a ring.
    for (number, of) in [(1, "src/one"), (2, "n1"), (3, "n2"), (4, "n3"), (5, "n4")] {
        let clone = home.clones(&format!("n{number}"), &origin(&format!("../{of}")));
        assert_eq!(named(&clone).1, number < 5, "{number}");
    }
    home.clones("n1", &origin("../n2"));
    assert_eq!(named(&home.path("n2")), ("n1".to_owned(), false));
    // What cannot be read says no more than its path; and elsewhere nobody looks.
    fs::remove_file(home.path("src/one/.git/config")).unwrap();
    let place = home.clones("work", &origin("../src/one"));
    assert_eq!(named(&place), ("one".to_owned(), false));
    let other = Home::new();
    let far = other.clones("far/one", &origin(SECRET));
    let place = home.clones("work", &origin(&far.display().to_string()));
    assert_eq!(named(&place), ("one".to_owned(), false));
}

#[test]
fn half_a_repository_is_not_known() {
    let home = Home::new();
    let secret = origin(SECRET);
    let plain = home.clones("plain", &secret);
    let bare = home.holds("bare", &secret);
    let gone = home.holds("bare", &secret).join("gone");
    home.holds("apart/gd", &secret);
    home.write("apart/w/.git", "gitdir: ../gd\n");
    home.holds("plain/.git/modules/lib", &secret);
    home.write("plain/lib/.git", "gitdir: ../.git/modules/lib\n");
    home.write("plain/.git/worktrees/x/commondir", "../..\n");
    home.write("plain/.git/worktrees/x/HEAD", "ref: refs/heads/x\n");
    home.write("x/.git", &format!("gitdir: {}\n", plain.join(".git/worktrees/x").display()));
    let look = |place: &Path| look(place, &home.users());
    for (place, half) in [
        (&plain, "plain/.git/HEAD"),
        (&plain, "plain/.git/config"),
        (&bare, "bare/HEAD"),
        (&bare, "bare/config"),
        (&gone, "bare/config"),
        (&home.path("apart/w"), "apart/gd/HEAD"),
        (&home.path("apart/w"), "apart/gd/config"),
        (&home.path("plain/lib"), "plain/.git/modules/lib/HEAD"),
        (&home.path("plain/lib"), "plain/.git/modules/lib/config"),
        (&home.path("x"), "plain/.git/worktrees/x/HEAD"),
        (&home.path("x"), "plain/.git/config"),
    ] {
        let (half, aside) = (home.path(half), home.path("aside"));
        let is_known = || !matches!(look(place), Found::Unknown(None) | Found::InNone);
        assert!(is_known(), "{}", place.display());
        fs::rename(&half, &aside).unwrap();
        assert_eq!(
            look(place),
            Found::Unknown(None),
            "{} without {}",
            place.display(),
            half.display()
        );
        fs::rename(&aside, &half).unwrap();
    }
    // Whoever takes a clone away takes what is small first.
    ["HEAD", "config"]
        .iter()
        .for_each(|half| fs::remove_file(plain.join(".git").join(half)).unwrap());
    assert_eq!(look(&plain), Found::Unknown(None));
    fs::remove_dir(plain.join(".git/objects")).unwrap();
    assert_eq!(look(&plain), Found::InNone);
    // As git made it once: a link that leads nowhere while nothing is committed.
    #[cfg(unix)]
    {
        fs::remove_file(bare.join("HEAD")).unwrap();
        std::os::unix::fs::symlink("refs/heads/main", bare.join("HEAD")).unwrap();
        assert_eq!(home.find(&bare).unwrap().name.as_deref(), Some("secret"));
    }
}

#[cfg(unix)]
#[test]
fn a_link_leads_where_the_directory_is() {
    use std::os::unix::fs::symlink;

    let home = Home::new();
    let (secret, public) = (home.path("src/secret"), home.path("src/public"));
    home.clones("src/secret", &origin(SECRET));
    home.clones("src/public", &origin(PUBLIC));
    fs::create_dir_all(secret.join("app/deep")).unwrap();
    for (from, to) in [
        ("below", secret.join("app")),
        ("whole", secret.clone()),
        ("src/public/inside", secret.join("app")),
        ("src/secret/out", public.clone()),
        ("broken", home.path("gone")),
    ] {
        symlink(to, home.path(from)).unwrap();
    }
    let whole = home.path("whole");
    for (place, root) in [
        ("below", &secret),
        ("below/deep", &secret),
        ("below/../app", &secret),
        ("src/public/inside", &secret),
        ("src/secret/app", &secret),
        ("whole", &whole),
        ("whole/app/deep", &whole),
    ] {
        let repo = home.shows(&home.path(place));
        assert_eq!(repo.name.as_deref(), Some("secret"), "{place}");
        assert_eq!(repo.root.as_deref(), root.to_str(), "{place}");
    }
    assert_eq!(home.shows(&home.path("src/secret/out")).name.as_deref(), Some("public"));
    let look = |place: &str| look(&home.path(place), &home.users());
    assert_eq!(look("broken"), Found::Unknown(None));
    assert!(
        matches!(look("below/gone"), Found::Unknown(Some(repo)) if repo.name.as_deref() == Some("secret"))
    );
    fs::rename(&secret, home.path("locked")).unwrap();
    assert_eq!(look("below"), Found::Unknown(None));
}

#[test]
fn what_cannot_be_read_is_not_known() {
    let home = Home::new();
    let unknown = |config: &str| {
        let place = home.clones("clone", &format!("{}{config}", origin(PUBLIC)));
        look(&place, &home.users()) == Found::Unknown(None)
    };
    assert!(!unknown(""));
    fs::create_dir_all(home.path("folder")).unwrap();
    assert!(unknown("[include]\npath = ~/folder\n"));
    assert!(unknown("[include]\npath = config\n"), "without an end");
    home.write("large", &" ".repeat(usize::try_from(MAX_FILE).unwrap()));
    assert!(!unknown("[include]\npath = ~/large\n"));
    home.write("large", &" ".repeat(usize::try_from(MAX_FILE).unwrap() + 1));
    assert!(unknown("[include]\npath = ~/large\n"));
    home.write("small", "");
    let many = |files: usize| format!("[include]\n{}", "path = ~/small\n".repeat(files));
    assert!(!unknown(&many(60)) && unknown(&many(70)));
    // Of the user's own what can be read counts, as it does for git.
    home.write(".gitconfig", "[include]\npath = .gitconfig\n");
    assert!(!unknown(""));
    #[cfg(unix)]
    {
        let fifo = home.path("fifo");
        assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        assert!(unknown("[include]\npath = ~/fifo\n"));
    }
}

#[test]
fn paths_of_windows_are_shown_as_they_are_written() {
    for (path, shown) in [
        (r"\\?\C:\src\x", Some(r"C:\src\x")),
        (r"\\?\UNC\server\share\x", Some(r"\\server\share\x")),
        (r"\\?\Volume{b75e2c83}\x", None),
        (r"C:\src\x", None),
        ("/src/x", None),
    ] {
        assert_eq!(plain(path).as_deref(), shown, "{path}");
    }
    assert_eq!(plain(&format!(r"\\?\C:\{}", "x".repeat(260))), None);
}
