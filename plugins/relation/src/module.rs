//! The relation module g: a network on pairs of embeddings.

use std::sync::Arc;

use kshot::learner::accuracy;
use kshot::metric::TrainingLoss;
use kshot::nn::head::{class_means, on_host};
use kshot::nn::{Architecture, Filters, HeadWeights, Loss, Network, Norm, TapedMatrix, network};
use kshot::params::Params;
use kshot::registry::Setup;
use kshot::rng::Rng;
use kshot::{Error, Result};
use ndarray::{Array2, Array4, ArrayView2, ArrayView4, Axis, Zip};

use crate::{Kind, Options, RelationLoss};

/// Numbers in a batch of pairs that are scored at once.
const AT_ONCE: usize = 1 << 22;

/// g without its weights: those are tensors of θ.
pub(crate) struct Module {
    network: Arc<dyn Network>,
    /// A query's embedding as g sees it, `[channels, height, width]`; a class's comes behind it, along the channels.
    maps: [usize; 3],
    kind: Kind,
}

impl Module {
    /// # Errors
    /// When the embeddings are no maps and it is to be convolutional.
    pub(crate) fn new(setup: &Setup, options: &Options) -> Result<Self> {
        let backbone = setup.backbone.architecture()?;
        let maps = match options.module {
            Kind::Perceptron => [backbone.features, 1, 1],
            Kind::Convolutional => backbone.maps().ok_or_else(|| {
                Error::invalid(format!(
                    "a convolutional module compares maps, but the backbone `{}` ends in a mean over them: set \
                     `module = \"perceptron\"`, or take a `conv4` with `pools = 2`",
                    setup.backbone.kind
                ))
            })?,
        };
        let hidden = options.hidden.unwrap_or(match options.module {
            Kind::Perceptron => 128,
            Kind::Convolutional => 8,
        });
        let [channels, height, width] = maps;
        let mut layers = Architecture::builder([2 * channels, height, width], setup.backbone.norm);
        match options.module {
            Kind::Perceptron => layers = layers.flatten().linear(FIRST, hidden)?.relu(),
            Kind::Convolutional => {
                let mut side = height.min(width);
                for block in ["relation.block0", "relation.block1"] {
                    let filters = Filters::square(3).biased();
                    layers = layers.conv(&format!("{block}.conv"), channels, filters)?;
                    layers = layers.norm(&format!("{block}.norm"))?.relu();
                    if side >= 2 {
                        layers = layers.max_pool(2, 2, 0)?;
                    }
                    side /= 2;
                }
                layers = layers.flatten();
            }
        }
        let layers = layers.linear("relation.hidden", hidden)?.relu().linear("relation.output", 1)?;
        Ok(Self { network: network(layers.finish()?)?, maps, kind: options.module })
    }

    /// Fresh weights. Those of a perceptron for queries and for classes start as opposites, so that it starts from the
    /// difference of the two.
    pub(crate) fn weights(&self, rng: &mut Rng) -> Params {
        let mut weights = self.network.init(rng);
        if self.kind == Kind::Perceptron {
            // Larger than a linear layer otherwise starts, as a ReLU behind it halves the variance (He et al. 2015).
            weights.values_mut().iter_mut().for_each(|weight| *weight *= 6.0_f32.sqrt());
            for entry in self.network.layout().entries() {
                let own = &mut weights.values_mut()[entry.range.clone()];
                match entry.shape[..] {
                    [_] => own.fill(0.0),
                    _ if entry.name == format!("{FIRST}.weight") => {
                        for row in own.chunks_exact_mut(2 * self.maps[0]) {
                            let (query, class) = row.split_at_mut(self.maps[0]);
                            class.iter_mut().zip(query).for_each(|(class, query)| *class = -*query);
                        }
                    }
                    _ => {}
                }
            }
        }
        weights
    }

    /// The loss of an episode, of the embedded support and the embedded queries behind it.
    pub(crate) fn loss(
        &self,
        z: TapedMatrix,
        weights: &HeadWeights<'_>,
        loss: RelationLoss,
        [support, query]: [&[usize]; 2],
    ) -> Result<TrainingLoss> {
        let theta = self.own(|name| weights.values(name).ok())?;
        let mut metrics = Vec::new();
        let loss = on_host(z, |z| {
            let (z_support, z_query) = z.split_at(Axis(0), support.len());
            let classes = class_means(z_support, support)?;
            let pairs = self.pairs(z_query, classes.view());
            let trace = self.network.trace(&theta, pairs.view(), Norm::Batch)?;
            let shape = (query.len(), classes.nrows());
            let scores =
                trace.outputs().to_shape(shape).map_err(|error| Error::invalid(error.to_string()))?;
            metrics.push(("accuracy", accuracy(scores.iter().copied(), query)));
            let (value, d_scores) = cost(loss, scores.view(), query)?;
            let d_scores = d_scores.into_shape_with_order((pairs.dim().0, 1));
            let (d_theta, d_pairs) =
                trace.back(d_scores.map_err(|error| Error::invalid(error.to_string()))?)?;
            for entry in self.network.layout().entries() {
                weights.add_gradient(&entry.name, d_theta.values()[entry.range.clone()].to_vec())?;
            }
            Ok((value, self.back(d_pairs.view(), support, classes.nrows())))
        })?;
        Ok(TrainingLoss { loss, metrics })
    }

    /// Scores before the sigmoid, `[queries, classes]`, of embeddings `[queries, features]` and `[classes, features]`.
    pub(crate) fn scores(
        &self,
        theta: &Params,
        query: ArrayView2<'_, f32>,
        classes: ArrayView2<'_, f32>,
    ) -> Result<Array2<f32>> {
        let own = self.own(|name| theta.tensor(name))?;
        let mut scores = Array2::zeros((query.nrows(), classes.nrows()));
        // On the statistics of the batch, pairs see one another.
        let rows = match self.network.norm() {
            Norm::Batch => query.nrows(),
            Norm::Running => AT_ONCE / (2 * query.ncols() * classes.nrows()).max(1),
        };
        let chunks = query.axis_chunks_iter(Axis(0), rows.max(1));
        for (query, mut scores) in chunks.zip(scores.axis_chunks_iter_mut(Axis(0), rows.max(1))) {
            let outputs = self.network.forward(&own, self.pairs(query, classes).view())?;
            scores.iter_mut().zip(outputs).for_each(|(score, output)| *score = output);
        }
        Ok(scores)
    }

    /// The weights of g among θ's tensors.
    fn own<'a>(&self, tensor: impl Fn(&str) -> Option<&'a [f32]>) -> Result<Params> {
        let mut own = Params::zeros(self.network.layout());
        for entry in self.network.layout().entries() {
            let values = tensor(&entry.name).filter(|values| values.len() == entry.range.len());
            let values = values.ok_or_else(|| {
                Error::invalid(format!("`relation`: θ has no `{}` of shape {:?}", entry.name, entry.shape))
            })?;
            own.values_mut()[entry.range.clone()].copy_from_slice(values);
        }
        Ok(own)
    }

    /// Every query with every class, `[queries · classes, 2 · channels, height, width]`.
    fn pairs(&self, query: ArrayView2<'_, f32>, classes: ArrayView2<'_, f32>) -> Array4<f32> {
        let [channels, height, width] = self.maps;
        let features = query.ncols();
        let mut pairs = Array2::zeros((query.nrows() * classes.nrows(), 2 * features));
        for (number, pair) in pairs.outer_iter_mut().enumerate() {
            let (mut of_query, mut of_class) = pair.split_at(Axis(0), features);
            of_query.assign(&query.row(number / classes.nrows()));
            of_class.assign(&classes.row(number % classes.nrows()));
        }
        let shape = (pairs.nrows(), 2 * channels, height, width);
        pairs.into_shape_with_order(shape).expect("embeddings of the backbone it was made for")
    }

    /// The gradient in the embeddings of support and queries, `[support + queries, features]`, from that in the pairs.
    fn back(&self, d_pairs: ArrayView4<'_, f32>, support: &[usize], ways: usize) -> Array2<f32> {
        let features: usize = self.maps.iter().product();
        let queries = d_pairs.dim().0 / ways;
        let mut d_z = Array2::zeros((support.len() + queries, features));
        let mut d_classes = Array2::<f32>::zeros((ways, features));
        for (number, d_pair) in d_pairs.outer_iter().enumerate() {
            let (d_query, d_class) = d_pair.split_at(Axis(0), self.maps[0]);
            let add = |sum: &mut f32, d: &f32| *sum += d;
            Zip::from(&mut d_z.row_mut(support.len() + number / ways)).and(&d_query.flatten()).for_each(add);
            Zip::from(&mut d_classes.row_mut(number % ways)).and(&d_class.flatten()).for_each(add);
        }
        for (example, &class) in support.iter().enumerate() {
            let examples = support.iter().filter(|&&other| other == class).count();
            d_z.row_mut(example).scaled_add(1.0 / examples as f32, &d_classes.row(class));
        }
        d_z
    }
}

/// A perceptron's first layer.
const FIRST: &str = "relation.first";

/// The loss of scores before the sigmoid, `[queries, classes]`, and its gradient.
pub(crate) fn cost(
    loss: RelationLoss,
    scores: ArrayView2<'_, f32>,
    labels: &[usize],
) -> Result<(f32, Array2<f32>)> {
    match loss {
        RelationLoss::CrossEntropy => {
            let loss = Loss::CrossEntropy { labels: labels.to_vec() };
            Ok((loss.value(scores)?, loss.gradient(scores)?))
        }
        RelationLoss::Mse => {
            let probabilities = scores.mapv(|score| 1.0 / (1.0 + (-score).exp()));
            let targets = Array2::from_shape_fn(scores.dim(), |(q, c)| f32::from(labels[q] == c));
            let loss = Loss::Mse { targets };
            let slopes = probabilities.mapv(|p| p * (1.0 - p));
            Ok((loss.value(probabilities.view())?, loss.gradient(probabilities.view())? * slopes))
        }
    }
}
