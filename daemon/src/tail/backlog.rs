//! What cannot be read at once: large transcripts wait here and are read newest first, one session at a
//! time, by a thread of their own. Their files are left alone meanwhile.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use rrd_core::{fact::issue, fold::Fold};
use rrd_proto::{IndexProgress, SessionKey};

use super::{
    HOT, Message, Tail,
    discover::look_at,
    survey::{Settled, Task},
    take::Work,
};
use crate::hub::Input;

impl Tail {
    /// What is known of a session whose transcripts are not being read now.
    pub(super) fn known(&mut self, key: &SessionKey) -> Option<Arc<Fold>> {
        self.partial.remove(key).or_else(|| self.scene.hub.fold(key))
    }

    /// The transcript cannot be read now. Its state is as before, so the next look tries again.
    pub(super) fn fail(&mut self, task: &mut Task, error: &io::Error) {
        // Nothing waits for it: the next change, or the sweep, tries again from where it stands.
        task.unread = 0;
        self.partial.insert(task.key.clone(), Arc::clone(&task.fold));
        if error.kind() == io::ErrorKind::NotFound {
            return;
        }
        let mut fold = Arc::clone(&task.fold);
        Arc::make_mut(&mut fold).note(issue::UNREADABLE, None);
        self.scene.show(task, &fold, self.scene.hub.fold(&task.key).is_some());
        for work in &task.files {
            self.unreadable.retain(|(path, _)| *path != work.path);
            self.unreadable.push((work.path.clone(), error.to_string()));
        }
    }

    /// Keeps a task's files: to follow them, or to read them later when something is left to read.
    pub(super) fn keep(&mut self, task: Task) {
        if task.unread > 0 {
            self.progress.files_left += task.files.len() as u64;
            self.waiting.push(task);
        } else {
            task.files.into_iter().for_each(|work| self.follow(work));
        }
    }

    /// Has them read as what they are, unless another root has that session.
    pub(super) fn keep_strays(&mut self, strays: Vec<Task>) {
        for stray in strays {
            if self.databases.has(&stray.key.session_id) {
                continue;
            }
            if self.scene.hub.claim(&stray.key, self.scene.index) {
                self.keep(stray);
            }
        }
    }

    pub(super) fn follow(&mut self, work: Work) {
        if work.may_repeat {
            self.shared.entry(work.file.session.clone()).or_default();
        }
        let changed = work.file.mtime;
        let recent = u64::try_from(changed).is_ok_and(|at| {
            let at = SystemTime::UNIX_EPOCH + Duration::from_nanos(at);
            at.elapsed().is_ok_and(|ago| ago < HOT)
        });
        let until = Instant::now() + HOT;
        match self.hot.get_mut(&work.path) {
            Some(hot) if recent => *hot = until,
            None if recent => drop(self.hot.insert(work.path.clone(), until)),
            _ => {}
        }
        self.files.insert(work.path.clone(), work);
    }

    pub(super) fn is_in_work(&self, key: &SessionKey) -> bool {
        self.in_work.as_ref().is_some_and(|(session, _)| session == key)
            || self.waiting.iter().any(|task| task.key == *key)
    }

    pub(super) fn next_task(&mut self) {
        if self.in_work.is_some() {
            return;
        }
        let Some(mut task) = self.waiting.pop() else { return };
        task.go_on_from(self.known(&task.key));
        self.in_work = Some((task.key.clone(), task.unread));
        let files = task.files.len() as u64;
        let (ledger, outbox) = (Arc::clone(&self.ledger), self.outbox.clone());
        let read = move || {
            let (glance, strays) = match task.take(ledger.as_ref()) {
                Ok(strays) => (None, strays),
                Err(error) => {
                    let mut fold = Arc::clone(&task.fold);
                    if error.kind() != io::ErrorKind::NotFound {
                        Arc::make_mut(&mut fold).note(issue::UNREADABLE, None);
                    }
                    task.unread = 0;
                    (Some(fold), Vec::new())
                }
            };
            let _ = outbox.send(Message::Done(Box::new(Settled { task, glance, strays })));
        };
        match std::thread::Builder::new().name("rrd-backlog".into()).spawn(read) {
            Ok(backlog) => self.backlog = Some(backlog),
            // No thread to be had now: the sweep finds the file unread and tries again.
            Err(_) => {
                self.in_work = None;
                self.progress.files_left = self.progress.files_left.saturating_sub(files);
            }
        }
    }

    pub(super) fn done(&mut self, settled: Settled) {
        if let Some((_, bytes)) = self.in_work.take() {
            self.progress.done += bytes;
        }
        let Settled { mut task, glance, strays } = settled;
        // What came to stand beside it meanwhile.
        if self.scene.fold_beside(&task.key, &mut task.fold) && glance.is_none() {
            task.restate(self.ledger.as_ref());
        }
        self.progress.files_left = self.progress.files_left.saturating_sub(task.files.len() as u64);
        if glance.is_some() {
            self.partial.insert(task.key.clone(), Arc::clone(&task.fold));
        }
        self.scene.show(&task, glance.as_ref().unwrap_or(&task.fold), glance.is_none());
        let paths: Vec<_> = task.files.iter().map(|work| work.path.clone()).collect();
        self.keep(task);
        // Deleted while it was read, a file was not yet followed when its hint came.
        paths.iter().for_each(|path| self.missed(path));
        self.keep_strays(strays);
        self.next_task();
        if self.waiting.is_empty() && self.in_work.is_none() {
            self.progress = IndexProgress::default();
            self.scene.hub.apply(Input::Progress(self.scene.index, self.progress));
        }
        for path in std::mem::take(&mut self.dirty) {
            if let Ok(Some(found)) = look_at(&self.scene.root, &path, self.scene.format) {
                self.changed(found);
            }
        }
    }
}
