//! Which budgets may concern a call, without asking each.
//!
//! A budget is filed under the first field of its scope that begins with literal text: under the whole text where the
//! pattern has no wildcard, under what stands before the first one otherwise. A call looks under what it names, and each
//! budget found is asked in full ([`Scope::may_match`]). What is filed nowhere is always asked.

use std::collections::{BTreeSet, HashMap};

use crate::domain::scope::{AdmissionSubject, Glob, Scope};

/// Where budgets are filed by one field's text.
#[derive(Debug, Default)]
struct Drawer {
    /// By the whole text.
    exact: HashMap<String, Vec<usize>>,
    /// By the text's beginning.
    prefixes: HashMap<String, Vec<usize>>,
    /// How long the beginnings are, in bytes.
    lengths: BTreeSet<usize>,
}

impl Drawer {
    fn file(&mut self, glob: &Glob, place: usize) {
        let text = glob.as_str();
        let literal = text.find(['*', '?']).map_or(text, |end| &text[..end]);
        if literal.len() == text.len() {
            self.exact.entry(text.to_owned()).or_default().push(place);
        } else {
            self.prefixes.entry(literal.to_owned()).or_default().push(place);
            self.lengths.insert(literal.len());
        }
    }

    fn find(&self, value: &str, found: &mut Vec<usize>) {
        found.extend(self.exact.get(value).into_iter().flatten());
        let within = self.lengths.iter().take_while(|length| **length <= value.len());
        let prefixes = within.filter_map(|length| value.get(..*length));
        found.extend(prefixes.filter_map(|prefix| self.prefixes.get(prefix)).flatten());
    }

    fn all(&self) -> impl Iterator<Item = usize> {
        self.exact.values().chain(self.prefixes.values()).flatten().copied()
    }
}

/// The budgets' places, filed.
#[derive(Debug, Default)]
pub(super) struct Index {
    apps: Drawer,
    keys: Drawer,
    users: Drawer,
    sessions: Drawer,
    models: Drawer,
    /// By the tag's name.
    tags: HashMap<String, Drawer>,
    always: Vec<usize>,
}

impl Index {
    /// Files the scopes under their places.
    pub(super) fn new<'a>(scopes: impl Iterator<Item = (usize, &'a Scope)>) -> Self {
        let mut index = Self::default();
        for (place, scope) in scopes {
            index.file(place, scope);
        }
        index
    }

    fn file(&mut self, place: usize, scope: &Scope) {
        let literal = |glob: &&Glob| !glob.as_str().starts_with(['*', '?']);
        // What every call shows comes first, what only its body may show later; a model may be any of many.
        let fields = [
            (&mut self.apps, &scope.app),
            (&mut self.keys, &scope.key),
            (&mut self.users, &scope.user),
            (&mut self.sessions, &scope.session),
        ];
        for (drawer, glob) in fields {
            if let Some(glob) = glob.as_ref().filter(literal) {
                return drawer.file(glob, place);
            }
        }
        if let Some((name, glob)) = scope.tags.iter().find(|(_, glob)| literal(glob)) {
            return self.tags.entry(name.clone()).or_default().file(glob, place);
        }
        match scope.model.as_ref().filter(literal) {
            Some(glob) => self.models.file(glob, place),
            None => self.always.push(place),
        }
    }

    /// The places of all budgets that may count this call, and of some that do not; in order, each once.
    pub(super) fn find(&self, call: &AdmissionSubject<'_>) -> Vec<usize> {
        let mut found = self.always.clone();
        for (drawer, value) in [(&self.apps, call.app), (&self.keys, call.key_name)] {
            if let Some(value) = value {
                drawer.find(value, &mut found);
            }
        }
        for (drawer, value) in [(&self.users, call.end_user), (&self.sessions, call.session)] {
            match value {
                Some(value) => drawer.find(value, &mut found),
                None if call.opaque_body => found.extend(drawer.all()),
                None => {}
            }
        }
        for (name, drawer) in &self.tags {
            match call.tags.get(name) {
                Some(value) => drawer.find(value, &mut found),
                None if call.opaque_body => found.extend(drawer.all()),
                None => {}
            }
        }
        match call.models_that_may_answer() {
            Some(models) => models.for_each(|model| self.models.find(model, &mut found)),
            None => found.extend(self.models.all()),
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn glob() -> impl Strategy<Value = Option<Glob>> {
        prop::option::of("[ab*?]{1,3}").prop_map(|text| text.and_then(|text| text.parse().ok()))
    }

    prop_compose! {
        fn scope()(
            app in glob(), key in glob(), user in glob(), session in glob(), model in glob(), tag in glob()
        ) -> Scope {
            let tags = tag.into_iter().map(|glob| ("team".to_owned(), glob)).collect();
            Scope { app, key, user, session, model, provider: None, tags }
        }
    }

    proptest! {
        /// Every budget that may count a call is found, whatever is filed how.
        #[test]
        fn no_budget_is_overlooked(
            scopes in prop::collection::vec(scope(), 0..40),
            values in prop::collection::vec(prop::option::of("[ab]{1,3}"), 6),
            others in prop::collection::vec("(~)?[ab]{1,3}(:free)?", 0..3),
            opaque_body: bool,
            models_unread: bool,
        ) {
            let tags: BTreeMap<String, String> =
                values[5].iter().map(|value| ("team".to_owned(), value.clone())).collect();
            let call = AdmissionSubject {
                app: values[0].as_deref(),
                key_name: values[1].as_deref(),
                end_user: values[2].as_deref(),
                session: values[3].as_deref(),
                model: values[4].as_deref(),
                models: &others,
                models_unread,
                tags: &tags,
                opaque_body,
            };
            let found = Index::new(scopes.iter().enumerate()).find(&call);
            for (place, scope) in scopes.iter().enumerate() {
                prop_assert!(!scope.may_match(&call) || found.contains(&place), "{scope}");
            }
        }
    }

    #[test]
    fn what_a_call_does_not_name_is_not_asked() {
        let scopes: Vec<Scope> = (0..1_000)
            .map(|n| serde_json::from_value(serde_json::json!({ "app": format!("app-{n}-*") })).unwrap())
            .collect();
        let tags = BTreeMap::new();
        let call = AdmissionSubject {
            app: Some("app-7-x"),
            key_name: Some("default"),
            end_user: None,
            session: None,
            model: None,
            models: &[],
            models_unread: false,
            tags: &tags,
            opaque_body: true,
        };
        assert_eq!(Index::new(scopes.iter().enumerate()).find(&call), [7]);
    }
}
