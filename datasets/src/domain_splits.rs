//! What every dataset of domains is once it has been opened.

use std::sync::Arc;

use kshot::dataset::{Class, ClassSet, Dataset, Domain, Domains, Preparation, Published, Split, TaskSource};
use kshot::{Error, Result};

/// How numbers that are taken as they are were prepared.
pub(crate) const NUMBERS: Preparation = Preparation::Numbers { standardise: false };

/// What standardising makes of the flag *transductive*.
const STANDARDISED: &str = "features are standardised within each domain, by all of its examples: those that are asked \
                            have a part in how they are prepared, whatever the learner";

/// A dataset of domains in memory.
pub(crate) struct DomainSplits {
    shape: [usize; 3],
    domains: Arc<Domains>,
    preparation: Preparation,
    published: &'static [Published],
    notes: Vec<String>,
}

impl DomainSplits {
    /// One domain, whose images are divided into those to be learned from and those that are asked.
    pub(crate) fn of_two_sides(
        name: String,
        preparation: Preparation,
        whole: &ClassSet,
        [train, test]: [Vec<Class>; 2],
    ) -> Result<Self> {
        let side = |classes| whole.with_classes(classes).map(Arc::new);
        let domain = Domain { name, train: side(train)?, test: side(test)? };
        Ok(Self {
            shape: whole.shape(),
            domains: Arc::new(Domains::new(vec![domain])?),
            preparation,
            published: &[],
            notes: Vec::new(),
        })
    }

    /// The same, with something more to say of it.
    pub(crate) fn with_notes(mut self, notes: Vec<String>) -> Self {
        self.notes.extend(notes);
        self
    }
}

impl Dataset for DomainSplits {
    fn split(&self, _: Split) -> Result<TaskSource> {
        Ok(TaskSource::Domains(self.domains.clone()))
    }

    fn input(&self) -> [usize; 3] {
        self.shape
    }

    fn published(&self) -> &'static [Published] {
        self.published
    }

    fn preparation(&self) -> Preparation {
        self.preparation.clone()
    }

    fn notes(&self) -> &[String] {
        &self.notes
    }
}

/// What an example of a domain is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// Only to be learned from.
    Train,
    /// Only to be asked.
    Test,
    /// Either: the dataset makes no difference.
    Both,
}

/// Domains, as they are read example by example.
pub(crate) struct DomainBuilder {
    shape: [usize; 3],
    values: Vec<f32>,
    names: Vec<String>,
    domains: Vec<(String, Vec<Class>, Vec<Class>)>,
    divided: bool,
    /// Of each example ([`ClassSet::grouped`]).
    pub(crate) groups: Option<Vec<u32>>,
}

impl DomainBuilder {
    pub(crate) fn new(shape: [usize; 3]) -> Self {
        Self {
            shape,
            values: Vec::new(),
            names: Vec::new(),
            domains: Vec::new(),
            divided: false,
            groups: None,
        }
    }

    /// Adds an example of `[channels, height, width]` values. Domains and classes are in order of first appearance.
    pub(crate) fn push(&mut self, domain: &str, class: &str, part: Part, name: String, values: &[f32]) {
        let number = self.names.len() as u32;
        self.values.extend_from_slice(values);
        self.names.push(name);
        self.divided |= part != Part::Both;
        let at = self.domains.iter().position(|(name, ..)| name == domain).unwrap_or_else(|| {
            self.domains.push((domain.to_owned(), Vec::new(), Vec::new()));
            self.domains.len() - 1
        });
        let Some((_, train, test)) = self.domains.get_mut(at) else { return };
        let classes = if part == Part::Test { test } else { train };
        match classes.iter_mut().find(|known| known.name == class) {
            Some(class) => class.images.push(number),
            None => classes.push(Class { name: class.to_owned(), images: vec![number], quarter_turns: 0 }),
        }
    }

    /// # Errors
    /// When a value is not finite, naming its example, or there is no domain.
    pub(crate) fn finish(
        self,
        preparation: Preparation,
        published: &'static [Published],
    ) -> Result<DomainSplits> {
        let size = self.shape.iter().product::<usize>().max(1);
        if let Some((at, value)) = self.values.iter().enumerate().find(|(_, value)| !value.is_finite()) {
            return Err(Error::NotFinite(format!(
                "value {} of example `{}` is {value}, not a finite number: correct the file, or leave the example out",
                at % size,
                self.names.get(at / size).map_or("", String::as_str),
            )));
        }
        let notes = match preparation {
            Preparation::Numbers { standardise: true } => vec![STANDARDISED.to_owned()],
            _ => Vec::new(),
        };
        let mut whole = ClassSet::new(self.shape, Arc::new(self.values), Arc::new(self.names), Vec::new())?;
        if let Some(groups) = self.groups {
            whole = whole.grouped(Arc::new(groups))?;
        }
        let domain = |(name, train, test): (String, Vec<Class>, Vec<Class>)| {
            let train = Arc::new(whole.with_classes(train)?);
            let test = if self.divided { Arc::new(whole.with_classes(test)?) } else { train.clone() };
            Ok(Domain { name, train, test })
        };
        let domains = self.domains.into_iter().map(domain).collect::<Result<_>>()?;
        Ok(DomainSplits {
            shape: self.shape,
            domains: Arc::new(Domains::new(domains)?),
            preparation,
            published,
            notes,
        })
    }
}
