//! What the server and its models say of themselves, as messages.

use std::collections::BTreeMap;

use crate::kserve::model_config::SchedulingChoice;
use crate::kserve::model_instance_group::Kind;
use crate::kserve::model_metadata_response::TensorMetadata;
use crate::kserve::model_queue_policy::TimeoutAction;
use crate::kserve::model_version_policy::{Latest, PolicyChoice};
use crate::kserve::trace_setting_response::SettingValue;
use crate::kserve::{
    DataType, InferBatchStatistics, InferStatistics, ModelConfig, ModelConfigResponse,
    ModelDynamicBatching, ModelInput, ModelInstanceGroup, ModelMetadataResponse, ModelOutput,
    ModelParameter, ModelQueuePolicy, ModelStatistics, ModelStatisticsResponse, ModelVersionPolicy,
    ServerMetadataResponse, StatisticDuration, TraceSettingRequest, TraceSettingResponse,
};
use crate::runtime::Model;
use crate::server::App;
use crate::server::protocol::{
    self, AllStatistics, ModelMetadata, ProtocolError, ServerMetadata, Times,
};

pub(super) fn server(app: &App) -> ServerMetadataResponse {
    let metadata = ServerMetadata::new(app.config.shared_memory);
    ServerMetadataResponse {
        name: metadata.name.to_owned(),
        version: metadata.version.to_owned(),
        extensions: metadata.extensions.into_iter().map(str::to_owned).collect(),
    }
}

pub(super) fn model(app: &App, model: &Model) -> ModelMetadataResponse {
    let metadata = ModelMetadata::of(model, &app.registry);
    let tensor = |name: &str, datatype: &str, shape| TensorMetadata {
        name: name.to_owned(),
        datatype: datatype.to_owned(),
        shape,
    };
    let inputs = metadata.inputs.into_iter();
    let outputs = metadata.outputs.into_iter();
    ModelMetadataResponse {
        name: metadata.name.to_owned(),
        versions: metadata.versions,
        platform: metadata.platform.to_owned(),
        inputs: inputs.map(|x| tensor(x.name, x.datatype, x.shape)).collect(),
        outputs: outputs.map(|y| tensor(y.name, y.datatype, y.shape)).collect(),
    }
}

pub(super) fn config(model: &Model) -> ModelConfigResponse {
    let config = protocol::ModelConfig::of(model);
    let data_type = |name| DataType::from_str_name(name).unwrap_or(DataType::TypeInvalid).into();
    let latest = Latest { num_versions: config.version_policy.latest.num_versions };
    let inputs = config.input.into_iter().map(|input| ModelInput {
        name: input.name.to_owned(),
        data_type: data_type(input.data_type),
        dims: input.dims,
    });
    let outputs = config.output.into_iter().map(|output| ModelOutput {
        name: output.name.to_owned(),
        data_type: data_type(output.data_type),
        dims: output.dims,
    });
    let groups = config.instance_group.into_iter().map(|group| ModelInstanceGroup {
        name: group.name,
        count: group.count,
        gpus: group.gpus,
        kind: Kind::from_str_name(group.kind).unwrap_or_default().into(),
    });
    let batching = config.dynamic_batching.map(|batching| {
        let queue = batching.default_queue_policy;
        let action = TimeoutAction::from_str_name(queue.timeout_action).unwrap_or_default();
        SchedulingChoice::DynamicBatching(ModelDynamicBatching {
            preferred_batch_size: batching.preferred_batch_size,
            max_queue_delay_microseconds: batching.max_queue_delay_microseconds,
            preserve_ordering: batching.preserve_ordering,
            priority_levels: batching.priority_levels,
            default_priority_level: batching.default_priority_level,
            default_queue_policy: Some(ModelQueuePolicy {
                timeout_action: action.into(),
                default_timeout_microseconds: queue.default_timeout_microseconds,
                allow_timeout_override: queue.allow_timeout_override,
                max_queue_size: queue.max_queue_size,
            }),
        })
    });
    let parameter = |(name, string_value)| (name, ModelParameter { string_value });
    let config = ModelConfig {
        name: config.name.to_owned(),
        platform: config.platform.to_owned(),
        version_policy: Some(ModelVersionPolicy {
            policy_choice: Some(PolicyChoice::Latest(latest)),
        }),
        max_batch_size: config.max_batch_size,
        input: inputs.collect(),
        output: outputs.collect(),
        instance_group: groups.collect(),
        scheduling_choice: batching,
        parameters: config.parameters.into_iter().map(parameter).collect(),
        backend: config.backend.to_owned(),
    };
    ModelConfigResponse { config: Some(config) }
}

pub(super) fn statistics(
    app: &App,
    name: &str,
    version: &str,
) -> Result<ModelStatisticsResponse, ProtocolError> {
    let statistics = AllStatistics::of(&app.registry, name, version)?;
    let models = statistics.model_stats.into_iter().map(|model| {
        let spent = &model.inference_stats;
        let inference_stats = InferStatistics {
            success: times(spent.success),
            fail: times(spent.fail),
            queue: times(spent.queue),
            compute_input: times(spent.compute_input),
            compute_infer: times(spent.compute_infer),
            compute_output: times(spent.compute_output),
            cache_hit: times(spent.cache_hit),
            cache_miss: times(spent.cache_miss),
        };
        let batches = model.batch_stats.iter().map(|batch| InferBatchStatistics {
            batch_size: batch.batch_size,
            compute_input: times(batch.compute_input),
            compute_infer: times(batch.compute_infer),
            compute_output: times(batch.compute_output),
        });
        ModelStatistics {
            last_inference: model.last_inference,
            inference_count: model.inference_count,
            execution_count: model.execution_count,
            inference_stats: Some(inference_stats),
            batch_stats: batches.collect(),
            name: model.name,
            version: model.version,
        }
    });
    Ok(ModelStatisticsResponse { model_stats: models.collect() })
}

#[expect(clippy::unnecessary_wraps, reason = "messages in messages may be left out")]
fn times(times: Times) -> Option<StatisticDuration> {
    Some(StatisticDuration { count: times.count, ns: times.ns })
}

/// Tracing is off, and cannot be turned on.
pub(super) fn trace(
    app: &App,
    request: &TraceSettingRequest,
) -> Result<TraceSettingResponse, ProtocolError> {
    if !request.model_name.is_empty() {
        protocol::find(&app.registry, &request.model_name, "")?;
    }
    if !request.settings.is_empty() {
        return Err(ProtocolError::unsupported(
            "this server writes no traces; how long each part of a request takes is in its metrics",
        ));
    }
    let off = SettingValue { value: vec!["OFF".to_owned()] };
    Ok(TraceSettingResponse { settings: BTreeMap::from([("trace_level".to_owned(), off)]) })
}
