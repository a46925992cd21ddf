//! This host's desktop: the program that each system has for that, told by its words alone.

use std::time::Duration;

use rrd_core::redact::Redacted;
use rrd_proto::Notification;

use super::command::Run;

/// What shows it here.
pub(super) fn run(told: &Redacted<Notification>, within: Duration) -> Run {
    let Notification { title, text, priority, .. } = told.as_ref();
    let (argv, environment) = if cfg!(target_os = "macos") {
        macos(title, text)
    } else if cfg!(windows) {
        windows(title, text)
    } else {
        freedesktop(title, text, *priority)
    };
    Run { argv, environment, input: Vec::new(), within }
}

type Words = (Vec<String>, Vec<(&'static str, String)>);

fn freedesktop(title: &str, text: &str, priority: u8) -> Words {
    let urgency = if priority >= 4 { "critical" } else { "normal" };
    // The body may be read as markup; of the title the specification says that it is none.
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let words = ["notify-send", "--app-name=rrd", "--urgency", urgency, "--", title, &text];
    (words.map(str::to_owned).to_vec(), Vec::new())
}

fn macos(title: &str, text: &str) -> Words {
    let script =
        "on run argv\ndisplay notification (item 2 of argv) with title (item 1 of argv)\nend run";
    // Words that begin with a dash would be options.
    let word =
        |text: &str| if text.starts_with('-') { format!(" {text}") } else { text.to_owned() };
    let words = ["osascript", "-e", script, &word(title), &word(text)];
    (words.map(str::to_owned).to_vec(), Vec::new())
}

fn windows(title: &str, text: &str) -> Words {
    // The texts come from the environment and are escaped as XML, so none of them is script or markup.
    const SCRIPT: &str = "$x=[Security.SecurityElement];\
        [void][Windows.UI.Notifications.ToastNotificationManager,Windows.UI.Notifications,ContentType=WindowsRuntime];\
        [void][Windows.Data.Xml.Dom.XmlDocument,Windows.Data.Xml.Dom.XmlDocument,ContentType=WindowsRuntime];\
        $d=New-Object Windows.Data.Xml.Dom.XmlDocument;\
        $d.LoadXml('<toast><visual><binding template=\"ToastGeneric\"><text>'+$x::Escape($env:RRD_NOTICE_TITLE)+'</text><text>'+$x::Escape($env:RRD_NOTICE_TEXT)+'</text></binding></visual></toast>');\
        $a='{1AC14E77-02E7-4E5D-B744-2EB1AE5198B7}\\WindowsPowerShell\\v1.0\\powershell.exe';\
        [Windows.UI.Notifications.ToastNotificationManager]::CreateToastNotifier($a).Show((New-Object Windows.UI.Notifications.ToastNotification $d))";
    let words = ["powershell.exe", "-NoProfile", "-NonInteractive", "-Command", SCRIPT];
    let environment =
        vec![("RRD_NOTICE_TITLE", title.to_owned()), ("RRD_NOTICE_TEXT", text.to_owned())];
    (words.map(str::to_owned).to_vec(), environment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_is_an_option_markup_or_script() {
        let (title, text) = ("--icon=/etc/passwd", "<b>&</b>; `id` $(id) '\" -e x");
        let (words, _) = freedesktop(title, text, 4);
        let at = words.iter().position(|word| word == "--").unwrap();
        assert_eq!(words[at + 1..], [title, "&lt;b&gt;&amp;&lt;/b&gt;; `id` $(id) '\" -e x"]);
        let (words, _) = macos(title, text);
        assert_eq!(words[3..], [format!(" {title}"), text.to_owned()]);
        assert!(!words[2].contains("icon"));
        let (words, environment) = windows(title, text);
        assert!(words.iter().all(|word| !word.contains("icon") && !word.contains("$(id)")));
        assert_eq!(environment[1].1, text);
    }
}
