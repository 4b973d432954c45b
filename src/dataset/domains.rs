//! The same classes seen in several domains: cameras, loads of a machine, sources of drawings.

use std::collections::HashSet;
use std::sync::Arc;

use super::{Class, ClassSet};

use crate::{Error, Result};

/// One domain: its examples by class.
#[derive(Clone, Debug)]
pub struct Domain {
    /// Name, unique among the domains.
    pub name: String,
    /// What may be learned from: all of a source, the labelled few of a target.
    pub train: Arc<ClassSet>,
    /// What is asked. Where a dataset has no such division, the same set as `train`.
    pub test: Arc<ClassSet>,
}

impl Domain {
    /// Whether training and test examples are the same.
    pub fn is_undivided(&self) -> bool {
        Arc::ptr_eq(&self.train, &self.test)
    }
}

/// Several domains over the same inputs in memory. Classes are matched by their names.
#[derive(Clone, Debug)]
pub struct Domains {
    domains: Vec<Domain>,
}

impl Domains {
    /// Domains whose class sets are all views of one [`ClassSet`] (made by [`ClassSet::with_classes`]).
    ///
    /// # Errors
    /// When there is none, two have the same name, or they are views of different inputs.
    pub fn new(domains: Vec<Domain>) -> Result<Self> {
        let Some(first) = domains.first() else {
            return Err(Error::invalid("a dataset of domains needs at least one"));
        };
        let mut names = HashSet::new();
        for domain in &domains {
            if ![&domain.train, &domain.test].iter().all(|set| set.shares_inputs_with(&first.train)) {
                return Err(Error::invalid(format!(
                    "domain `{}` is no view of the same inputs as `{}`; this is a fault of the dataset",
                    domain.name, first.name
                )));
            }
            if !names.insert(domain.name.as_str()) {
                return Err(Error::invalid(format!("there are two domains called `{}`", domain.name)));
            }
        }
        Ok(Self { domains })
    }

    /// The domains, in order.
    pub fn domains(&self) -> &[Domain] {
        &self.domains
    }

    /// The domain called `name`.
    ///
    /// # Errors
    /// When there is none: says which is nearest.
    pub fn named(&self, name: &str) -> Result<&Domain> {
        self.domains.iter().find(|domain| domain.name == name).ok_or_else(|| {
            Error::unknown("domain", name, self.domains.iter().map(|domain| domain.name.as_str()))
        })
    }

    /// Only the domains of these names.
    ///
    /// # Errors
    /// As [`Domains::named`] and [`Domains::new`].
    pub fn only<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        Self::new(names.into_iter().map(|name| self.named(name).cloned()).collect::<Result<_>>()?)
    }

    /// Names of the classes of any domain's training examples, in order of first appearance.
    pub fn class_names(&self) -> Vec<&str> {
        let mut seen = HashSet::new();
        let classes = self.domains.iter().flat_map(|domain| domain.train.classes());
        classes.map(|class| class.name.as_str()).filter(|name| seen.insert(*name)).collect()
    }

    /// The training examples of all domains, by class.
    ///
    /// # Errors
    /// None for domains over one set of inputs.
    pub fn merged(&self) -> Result<Arc<ClassSet>> {
        if let [one] = self.domains.as_slice() {
            return Ok(one.train.clone());
        }
        let of = |name: &str| {
            let all = self.domains.iter().flat_map(|domain| domain.train.classes());
            all.filter(|class| class.name == name).flat_map(|class| class.images.iter().copied()).collect()
        };
        let class = |name: &str| Class { name: name.to_owned(), images: of(name), quarter_turns: 0 };
        let classes = self.class_names().into_iter().map(class).collect();
        self.domains[0].train.with_classes(classes).map(Arc::new)
    }
}
