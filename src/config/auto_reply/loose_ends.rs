//! What an auto reply has to say, and never will.

use super::message::entries;
use crate::config::findings::did_you_mean;
use crate::config::section::Section;
use crate::handler::auto_reply::{Answer, Rule, Settings};

/// Warns of every part of `settings` that leads nowhere.
pub(super) fn warn(settings: &Settings, section: &mut Section<'_>) {
    warn_of_menus(settings, section);
    warn_of_idle_keywords(&settings.rules, section);
}

/// Warns of menu entries that no rule answers, and of rules for entries that there are not.
fn warn_of_menus(settings: &Settings, section: &mut Section<'_>) {
    let menus = [
        ("welcome".to_owned(), settings.welcome.as_ref()),
        (
            "fallback".to_owned(),
            settings.fallback.as_ref().map(|fallback| &fallback.content),
        ),
    ];
    let in_rules = settings
        .rules
        .iter()
        .enumerate()
        .map(|(index, rule)| match &rule.answer {
            Answer::Say(content) => (format!("rules[{index}]"), Some(content)),
            Answer::HandOver => (format!("rules[{index}]"), None),
        });
    let offered: Vec<_> = menus
        .into_iter()
        .chain(in_rules)
        .flat_map(|(place, content)| {
            let ids = content.into_iter().flat_map(entries).enumerate();
            ids.map(move |(index, (id, _))| (format!("{place}.menu[{index}].id"), id))
        })
        .collect();
    let answered: Vec<_> = settings
        .rules
        .iter()
        .filter_map(|rule| rule.menu_id.as_deref())
        .collect();
    for (key, id) in offered.iter().filter(|(_, id)| !answered.contains(id)) {
        let hint = did_you_mean(id, &answered);
        section.warn(key, &format!("no rule has the menu_id {id:?}{hint}"));
    }
    for (index, rule) in settings.rules.iter().enumerate() {
        let Some(id) = rule.menu_id.as_deref() else { continue };
        if !offered.iter().any(|(_, offer)| *offer == id) {
            let hint = did_you_mean(id, offered.iter().map(|(_, offer)| offer));
            section.warn(
                &format!("rules[{index}].menu_id"),
                &format!("no menu here has an entry {id:?}{hint}"),
            );
        }
    }
}

/// Warns of keywords that never decide anything, because an earlier rule answers first.
fn warn_of_idle_keywords(rules: &[Rule], section: &mut Section<'_>) {
    for (index, rule) in rules.iter().enumerate() {
        for (place, keyword) in rule.keywords.iter().enumerate() {
            if let Some(first) = rules[..index]
                .iter()
                .position(|earlier| earlier.forestalls(rule, keyword))
            {
                let what = format!(
                    "{:?} is of no use: rules[{first}] comes first and answers it",
                    keyword.as_str()
                );
                section.warn(&format!("rules[{index}].keywords[{place}]"), &what);
            }
        }
    }
}
