//! What a log shows besides the scalars of a step, and how TensorBoard's messages say it.

use protobuf::{Message, RepeatedField};
use tensorboard_proto::plugin_text::TextPluginData;
use tensorboard_proto::summary::{
    Summary as Summaries, Summary_Image, Summary_Value, SummaryMetadata, SummaryMetadata_PluginData,
};
use tensorboard_proto::tensor::TensorProto;
use tensorboard_proto::tensor_shape::TensorShapeProto;
use tensorboard_proto::types::DataType;
use tensorboard_rs::summary::{histogram_raw, scalar};

use super::histogram::Histogram;
use crate::picture::Picture;
use crate::{Error, Result};

/// What a log shows besides the scalars of a step.
#[derive(Clone, Copy, Debug)]
pub enum Summary<'a> {
    /// A figure that is no part of `metrics.jsonl`.
    Scalar(f32),
    /// How values are distributed; those that are not finite are left out.
    Histogram(&'a [f32]),
    /// A picture.
    Picture(&'a Picture),
    /// Markdown.
    Text(&'a str),
}

impl Summary<'_> {
    /// TensorBoard's message for it.
    pub(super) fn message(&self, tag: &str) -> Result<Summaries> {
        Ok(match self {
            Self::Scalar(value) => scalar(tag, *value),
            Self::Histogram(values) => {
                let Histogram { min, max, count, sum, sum_squares, limits, buckets } = Histogram::of(values);
                histogram_raw(tag, min, max, count, sum, sum_squares, &limits, &buckets)
            }
            Self::Picture(picture) => image(tag, picture)?,
            Self::Text(markdown) => text(tag, markdown)?,
        })
    }
}

/// tensorboard-rs has an `image` too, but it takes width for height and panics on what does not fit.
fn image(tag: &str, picture: &Picture) -> Result<Summaries> {
    let [width, height] = picture.size();
    let mut image = Summary_Image::new();
    image.set_width(width as i32);
    image.set_height(height as i32);
    image.set_colorspace(3);
    image.set_encoded_image_string(picture.png()?);
    let mut value = Summary_Value::new();
    value.set_image(image);
    Ok(one(tag, value))
}

fn text(tag: &str, markdown: &str) -> Result<Summaries> {
    let mut tensor = TensorProto::new();
    tensor.set_dtype(DataType::DT_STRING);
    tensor.set_tensor_shape(TensorShapeProto::new());
    tensor.set_string_val(RepeatedField::from(vec![markdown.as_bytes().to_vec()]));
    let mut value = Summary_Value::new();
    value.set_metadata(metadata("text", &TextPluginData::new())?);
    value.set_tensor(tensor);
    Ok(one(tag, value))
}

/// Which plugin a value is for, with what it wants to know.
pub(super) fn metadata(plugin: &str, content: &impl Message) -> Result<SummaryMetadata> {
    let content = content
        .write_to_bytes()
        .map_err(|error| Error::invalid(format!("encoding for TensorBoard's `{plugin}`: {error}")))?;
    let mut data = SummaryMetadata_PluginData::new();
    data.set_plugin_name(plugin.to_owned());
    data.set_content(content);
    let mut metadata = SummaryMetadata::new();
    metadata.set_plugin_data(data);
    Ok(metadata)
}

/// One value under a tag.
pub(super) fn one(tag: &str, mut value: Summary_Value) -> Summaries {
    value.set_tag(tag.to_owned());
    let mut summaries = Summaries::new();
    summaries.set_value(RepeatedField::from(vec![value]));
    summaries
}
