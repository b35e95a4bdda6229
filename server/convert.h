// Between the contract's messages and the engine's plain data. Pure functions.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "pipeline/motion_extraction.h"
#include "pipeline/types.h"
#include "reenact/v1/reenact.pb.h"
#include "server/job_state.h"

namespace reenact {

// Checks `config` against the models (at least one) and fills in the model's name. job_id stays
// empty. kNotFound: no such model. kInvalidArgument: lists every illegal field with value and
// range.
absl::StatusOr<JobRequest> ToJobRequest(v1::JobConfig config, const std::vector<ModelInfo>& models);

v1::ModelInfo ToProto(const ModelInfo& model);
v1::JobState ToProto(JobState state);

// `plan` is the job's at its end. job_id, bytes_out, live and the times only the server knows stay
// unset.
v1::Summary ToProto(const JobSummary& summary, const JobPlan& plan);

v1::LiveStatus ToProto(const LiveStatus& status);

// As ToJobRequest.
absl::StatusOr<MotionRequest> ToMotionRequest(v1::ExtractMotionConfig config);
v1::ExtractMotionSummary ToProto(const MotionSummary& summary);

// `format` is the job's; sequence_number stays unset.
v1::ReenactResponse ToProto(Output output, OutputFormat format);

// Bytes of the video piece, frame or poster that an answer carries; 0 for others.
int64_t MediaBytes(const v1::ReenactResponse& answer);

}  // namespace reenact
