//! Office-Caltech: ten classes of objects seen by four sources, as histograms of 800 SURF words.
//!
//! Gong, Shi, Sha & Grauman, "Geodesic Flow Kernel for Unsupervised Domain Adaptation", CVPR 2012. Features are divided
//! by their sum and standardised within each domain, the protocol of that paper and of Long et al. 2013.

use kshot::Result;
use kshot::dataset::{Dataset, DatasetContext, Preparation, Published};
use kshot::options::NoOptions;
use std::path::PathBuf;

use crate::arrays::array::take;
use crate::arrays::mat::mat;
use crate::arrays::standardise;
use crate::domain_splits::{DomainBuilder, Part};
use crate::place::find;

kshot::register_dataset! {
    /// 10 kinds of objects in 4 domains (A amazon, C caltech, D dslr, W webcam), 800 features
    ///
    /// Gong, Shi, Sha, Grauman, CVPR 2012 (ToRelease_GFK)
    name: "office-caltech10-surf",
    options: NoOptions,
    open: open,
    locate: locate,
}

/// Domains in the order that papers list them, with their files.
const DOMAINS: [(&str, &str); 4] = [
    ("C", "Caltech10_SURF_L10.mat"),
    ("A", "amazon_SURF_L10.mat"),
    ("W", "webcam_SURF_L10.mat"),
    ("D", "dslr_SURF_L10.mat"),
];

const FEATURES: usize = 800;

fn locate(context: &DatasetContext) -> Result<PathBuf> {
    let from = "the research release of Gong et al. 2012, ToRelease_GFK.zip";
    find(&context.data_dir, &["office-caltech10-surf"], DOMAINS[0].1, from)
}

fn open(context: &DatasetContext, _: NoOptions) -> Result<Box<dyn Dataset>> {
    let folder = locate(context)?;
    let mut builder = DomainBuilder::new([FEATURES, 1, 1]);
    for (domain, file) in DOMAINS {
        let path = folder.join(file);
        let named = |array: &str| format!("`{array}` of {}", path.display());
        let mut arrays = mat(&path)?;
        let counts = take(&mut arrays, "fts", &path)?.numbers_of(&[FEATURES], &named("fts"))?;
        let n = counts.len() / FEATURES;
        let labels = take(&mut arrays, "labels", &path)?.names(n, &named("labels"))?;
        let mut values: Vec<f32> = Vec::with_capacity(counts.len());
        for row in counts.chunks_exact(FEATURES) {
            let sum: f64 = row.iter().sum();
            values.extend(row.iter().map(|count| (count / sum) as f32));
        }
        standardise(&mut values, &vec![String::new(); n]);
        for class in 1..=10 {
            let class = class.to_string();
            let examples = values.chunks_exact(FEATURES).zip(&labels).enumerate();
            for (i, (features, _)) in examples.filter(|(_, (_, of))| **of == class) {
                builder.push(domain, &class, Part::Both, format!("{domain}{i}"), features);
            }
        }
    }
    Ok(Box::new(builder.finish(Preparation::Numbers { standardise: true }, PUBLISHED)?))
}

const PAPER: &str = "Long, Wang, Ding, Sun, Yu, Transfer Feature Learning with Joint Distribution Adaptation, ICCV 2013, table 3";

macro_rules! office {
    ($method:literal, $($accuracy:literal),*) => {{
        const VALUES: [f64; 12] = [$($accuracy),*];
        Published {
            method: $method,
            paper: PAPER,
            accuracies: &[
                ("C", "A", VALUES[0]), ("C", "W", VALUES[1]), ("C", "D", VALUES[2]),
                ("A", "C", VALUES[3]), ("A", "W", VALUES[4]), ("A", "D", VALUES[5]),
                ("W", "C", VALUES[6]), ("W", "A", VALUES[7]), ("W", "D", VALUES[8]),
                ("D", "C", VALUES[9]), ("D", "A", VALUES[10]), ("D", "W", VALUES[11]),
            ],
        }
    }};
}

const PUBLISHED: &[Published] = &[
    office!("TCA", 38.20, 38.64, 41.40, 37.76, 37.63, 33.12, 29.30, 30.06, 87.26, 31.70, 32.15, 86.10),
    office!("JDA", 44.78, 41.69, 45.22, 39.36, 37.97, 39.49, 31.17, 32.78, 89.17, 31.52, 33.09, 89.49),
];
