#include "server/convert.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <string>

#include "server/status_details.h"
#include "tests/fakes/fake_engine.h"
#include "tests/server/status_is.h"

namespace reenact {
namespace {

using testing::FakeModel;
using testing::IsOk;
using testing::StatusIs;

v1::JobConfig Valid() {
  v1::JobConfig config;
  config.mutable_source()->set_image("picture");
  return config;
}

TEST(ToJobRequestTest, UnsetMeansTheDefault) {
  const auto request = ToJobRequest(Valid(), {FakeModel("first"), FakeModel("second")});

  ASSERT_THAT(request, IsOk());
  EXPECT_EQ(request->model, "first");
  EXPECT_EQ(request->source.image, "picture");
  EXPECT_EQ(request->seed, 0u);
  EXPECT_EQ(request->num_steps, std::nullopt);
  EXPECT_EQ(request->sampler, std::nullopt);
  EXPECT_EQ(request->guidance_scale, std::nullopt);
  EXPECT_EQ(request->plan, SequencePlan::kCentralRandom);
  EXPECT_EQ(request->no_face, NoFacePolicy::kInterpolate);
  EXPECT_EQ(request->format, OutputFormat::kFragmentedMp4);
  EXPECT_EQ(request->output_size, std::nullopt);
  EXPECT_EQ(CrfOf(request->encoding), 20);
  EXPECT_EQ(request->composition, Composition::kCrop);
  EXPECT_EQ(request->source.face.by, FaceSelection::By::kLargest);
  EXPECT_EQ(request->jpeg_quality, 90);
  EXPECT_TRUE(request->copy_audio);
  EXPECT_FALSE(request->poster);
  EXPECT_EQ(request->matte, Matte::kNone);
}

TEST(ToJobRequestTest, LiveHasItsDefaultsAndItsPlan) {
  v1::JobConfig config = Valid();
  EXPECT_FALSE(ToJobRequest(config, {FakeModel()})->live.has_value());
  config.mutable_live();

  auto request = ToJobRequest(config, {FakeModel()});

  ASSERT_THAT(request, IsOk());
  EXPECT_EQ(request->plan, SequencePlan::kContiguous);
  ASSERT_TRUE(request->live.has_value());
  EXPECT_EQ(request->live->time_base_num, 1);
  EXPECT_EQ(request->live->time_base_den, 1000);
  EXPECT_EQ(request->live->skip, SkipPolicy::kSkip);
  EXPECT_EQ(request->live->max_wait, absl::Milliseconds(250));

  config.mutable_live()->mutable_time_base()->set_numerator(1001);
  config.mutable_live()->mutable_time_base()->set_denominator(30000);
  config.mutable_live()->set_skip_policy(v1::SKIP_POLICY_WAIT);
  config.mutable_live()->mutable_max_wait()->set_seconds(10);
  config.set_sequence_plan(v1::SEQUENCE_PLAN_CONTIGUOUS);
  request = ToJobRequest(config, {FakeModel()});
  ASSERT_THAT(request, IsOk());
  EXPECT_EQ(request->live->time_base_num, 1001);
  EXPECT_EQ(request->live->time_base_den, 30000);
  EXPECT_EQ(request->live->skip, SkipPolicy::kWait);
  EXPECT_EQ(request->live->max_wait, absl::Seconds(10));

  config.mutable_live()->mutable_max_wait()->Clear();
  EXPECT_EQ(ToJobRequest(config, {FakeModel()})->live->max_wait, absl::ZeroDuration());
}

TEST(ToJobRequestTest, EveryFieldArrives) {
  ModelInfo model = FakeModel();
  model.accepts_text = true;
  model.samplers = {Sampler::kDdim, Sampler::kDdpm};
  v1::JobConfig config = Valid();
  config.set_model("fake");
  config.mutable_source()->set_text("a smile");
  config.mutable_source()->set_edit_strength(0.25);
  config.set_seed(std::numeric_limits<uint64_t>::max());
  config.set_num_steps(7);
  config.set_sampler(v1::SAMPLER_DDIM);
  config.set_ddim_eta(0.5);
  config.set_guidance_scale(2.5);
  config.set_sequence_plan(v1::SEQUENCE_PLAN_CONTIGUOUS);
  config.set_no_face_policy(v1::NO_FACE_POLICY_HOLD);
  config.mutable_output()->set_format(v1::OUTPUT_FORMAT_JPEG);
  config.mutable_output()->set_size(128);
  config.mutable_output()->set_jpeg_quality(50);
  config.mutable_output()->set_copy_audio(false);
  config.mutable_motion()->set_mode(v1::MOTION_MODE_ABSOLUTE);
  config.mutable_motion()->set_strength(1.25);
  config.mutable_motion()->set_pose(0);
  config.mutable_motion()->set_mouth(1.5);
  config.mutable_motion()->set_eyes(0.5);
  config.mutable_motion()->set_gaze(2);
  config.mutable_motion()->set_source_expression(0.75);
  config.set_smoothing(0);

  const auto request = ToJobRequest(config, {model});

  ASSERT_THAT(request, IsOk());
  EXPECT_EQ(request->source.text, "a smile");
  EXPECT_EQ(request->motion_mode, MotionMode::kAbsolute);
  EXPECT_EQ(request->motion.strength, 1.25);
  EXPECT_EQ(request->motion.pose, 0);
  EXPECT_EQ(request->motion.mouth, 1.5);
  EXPECT_EQ(request->motion.eyes, 0.5);
  EXPECT_EQ(request->motion.gaze, 2);
  EXPECT_EQ(request->motion.source_expression, 0.75);
  EXPECT_EQ(request->smoothing, 0);
  EXPECT_EQ(request->source.edit_strength, 0.25);
  EXPECT_EQ(request->seed, std::numeric_limits<uint64_t>::max());
  EXPECT_EQ(request->num_steps, 7);
  EXPECT_EQ(request->sampler, Sampler::kDdim);
  EXPECT_EQ(request->ddim_eta, 0.5);
  EXPECT_EQ(request->guidance_scale, 2.5);
  EXPECT_EQ(request->plan, SequencePlan::kContiguous);
  EXPECT_EQ(request->no_face, NoFacePolicy::kHold);
  EXPECT_EQ(request->format, OutputFormat::kJpeg);
  EXPECT_EQ(request->output_size, 128);
  EXPECT_EQ(request->jpeg_quality, 50);
  EXPECT_FALSE(request->copy_audio);
}

TEST(ToJobRequestTest, MethodsForLongVideosArrive) {
  v1::JobConfig config = Valid();
  auto request = ToJobRequest(config, {FakeModel()});
  ASSERT_THAT(request, IsOk());
  EXPECT_EQ(request->method, LongVideoMethod::kAnchored);
  EXPECT_EQ(request->anchors, AnchorPlacement::kSingle);
  EXPECT_EQ(request->window.frames, std::nullopt);
  EXPECT_EQ(request->window.overlap, std::nullopt);

  config.set_sequence_plan(v1::SEQUENCE_PLAN_BALANCED);
  config.set_anchor_placement(v1::ANCHOR_PLACEMENT_PER_SCENE);
  request = ToJobRequest(config, {FakeModel()});
  ASSERT_THAT(request, IsOk());
  EXPECT_EQ(request->plan, SequencePlan::kBalanced);
  EXPECT_EQ(request->anchors, AnchorPlacement::kPerScene);

  config = Valid();
  config.set_long_video_method(v1::LONG_VIDEO_METHOD_OVERLAPPED);
  config.mutable_window()->set_frames(3);
  config.mutable_window()->set_overlap(2);
  request = ToJobRequest(config, {FakeModel()});
  ASSERT_THAT(request, IsOk());
  EXPECT_EQ(request->method, LongVideoMethod::kOverlapped);
  EXPECT_EQ(request->window.frames, 3);
  EXPECT_EQ(request->window.overlap, 2);

  // An empty window has the defaults.
  config.set_long_video_method(v1::LONG_VIDEO_METHOD_INDEPENDENT);
  config.mutable_window()->Clear();
  request = ToJobRequest(config, {FakeModel()});
  ASSERT_THAT(request, IsOk());
  EXPECT_EQ(request->method, LongVideoMethod::kIndependent);
  EXPECT_EQ(request->window.frames, std::nullopt);
}

TEST(ToJobRequestTest, PosterAndMatteArrive) {
  v1::JobConfig config = Valid();
  config.mutable_output()->set_poster(true);
  config.mutable_output()->set_matte(v1::MATTE_BELOW);
  auto request = ToJobRequest(config, {FakeModel()});
  ASSERT_THAT(request, IsOk());
  EXPECT_TRUE(request->poster);
  EXPECT_EQ(request->matte, Matte::kBelow);

  config.mutable_output()->set_matte(v1::MATTE_ALPHA);
  for (const auto format : {v1::OUTPUT_FORMAT_PNG, v1::OUTPUT_FORMAT_RAW_RGB}) {
    config.mutable_output()->set_format(format);
    request = ToJobRequest(config, {FakeModel()});
    ASSERT_THAT(request, IsOk());
    EXPECT_EQ(request->matte, Matte::kAlpha);
  }
}

TEST(ToJobRequestTest, ASourceMayBeAVideo) {
  v1::JobConfig config;
  config.mutable_source()->set_video("clip");
  config.mutable_output()->set_composition(v1::COMPOSITION_PASTE_BACK);
  config.mutable_motion()->set_mode(v1::MOTION_MODE_RELATIVE);
  const auto request = ToJobRequest(config, {FakeModel()});
  ASSERT_THAT(request, IsOk());
  EXPECT_EQ(request->source.video, "clip");
  EXPECT_EQ(request->source.image, "");
}

TEST(ToProtoTest, APosterIsAnAnswerOfItsOwn) {
  Output output;
  output.kind = Output::Kind::kPoster;
  output.data = "jpeg";
  output.width = 512;
  output.height = 45;
  const v1::ReenactResponse answer = ToProto(std::move(output), OutputFormat::kPng);
  EXPECT_EQ(answer.poster().jpeg(), "jpeg");
  EXPECT_EQ(answer.poster().width(), 512);
  EXPECT_EQ(answer.poster().height(), 45);
  EXPECT_EQ(MediaBytes(answer), 4);
}

TEST(ToJobRequestTest, EditArrives) {
  ModelInfo model = FakeModel();
  model.accepts_text = true;
  v1::JobConfig config = Valid();
  config.mutable_source()->mutable_edit()->set_from("a man with brown hair");
  config.mutable_source()->mutable_edit()->set_to("a man with red hair");
  config.mutable_source()->set_edit_strength(1);

  const auto request = ToJobRequest(config, {model});

  ASSERT_THAT(request, IsOk());
  EXPECT_EQ(request->source.edit_from, "a man with brown hair");
  EXPECT_EQ(request->source.edit_to, "a man with red hair");
  EXPECT_EQ(request->source.edit_strength, 1);
  EXPECT_EQ(request->source.text, "");
}

ModelInfo TextModel() {
  ModelInfo model = FakeModel();
  model.accepts_text = true;
  return model;
}

TEST(ToJobRequestTest, FurtherFacesArrive) {
  v1::JobConfig config = Valid();
  v1::FacePair& other = *config.add_further_faces();
  other.mutable_source()->mutable_face()->set_index(2);
  other.mutable_driver_face()->set_index(1);
  v1::FacePair& guest = *config.add_further_faces();
  guest.mutable_source()->set_image("another picture");
  guest.mutable_source()->set_text("a text");
  guest.mutable_source()->set_edit_strength(0.25);
  guest.mutable_driver_face()->mutable_position()->set_x(0.75);

  const auto request = ToJobRequest(config, {TextModel()});

  ASSERT_THAT(request, IsOk());
  ASSERT_EQ(request->further_faces.size(), 2u);
  EXPECT_FALSE(request->further_faces[0].source.has_picture());
  EXPECT_EQ(request->further_faces[0].source.face.index, 2);
  EXPECT_EQ(request->further_faces[0].driver_face.by, FaceSelection::By::kIndex);
  EXPECT_EQ(request->further_faces[0].driver_face.index, 1);
  EXPECT_EQ(request->further_faces[1].source.image, "another picture");
  EXPECT_EQ(request->further_faces[1].source.text, "a text");
  EXPECT_DOUBLE_EQ(request->further_faces[1].source.edit_strength, 0.25);
  EXPECT_EQ(request->further_faces[1].driver_face.by, FaceSelection::By::kPosition);
  EXPECT_DOUBLE_EQ(request->further_faces[1].driver_face.x, 0.75);
}

TEST(ToJobRequestTest, IllegalFurtherFacesNameThePair) {
  const auto message = [](const std::function<void(v1::JobConfig&)>& change) {
    v1::JobConfig config = Valid();
    v1::FacePair& pair = *config.add_further_faces();
    pair.mutable_source()->mutable_face()->set_index(1);
    pair.mutable_driver_face()->set_index(1);
    EXPECT_THAT(ToJobRequest(config, {TextModel()}), IsOk());
    change(config);
    const auto request = ToJobRequest(config, {TextModel()});
    EXPECT_EQ(request.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(request.status().message());
  };
  const auto pair = [](v1::JobConfig& config) -> v1::FacePair& {
    return *config.mutable_further_faces(0);
  };
  EXPECT_EQ(message([](v1::JobConfig& config) {
              for (int i = 2; i <= 4; ++i) {
                *config.add_further_faces() = config.further_faces(0);
                config.mutable_further_faces(i - 1)->mutable_source()->mutable_face()->set_index(i);
                config.mutable_further_faces(i - 1)->mutable_driver_face()->set_index(i);
              }
            }),
            "further_faces has 4 entries, must have at most 3");
  EXPECT_EQ(message([](v1::JobConfig& config) { config.mutable_live(); }),
            "further_faces is set, must be empty in a live job");
  EXPECT_EQ(message([&](v1::JobConfig& config) { pair(config).clear_driver_face(); }),
            "further_faces[0].driver_face is unset, must be set");
  EXPECT_EQ(message([&](v1::JobConfig& config) { pair(config).clear_source(); }),
            "further_faces[0].source.face is unset, must be set without a picture or a text");
  EXPECT_EQ(
      message([&](v1::JobConfig& config) { pair(config).mutable_driver_face()->set_index(64); }),
      "further_faces[0].driver_face.index is 64, must be 0 to 63");
  EXPECT_EQ(message([&](v1::JobConfig& config) { config.mutable_driver_face()->set_index(1); }),
            "further_faces[0].driver_face.index is 1, must not be that of driver_face");
  EXPECT_EQ(message([&](v1::JobConfig& config) {
              config.mutable_source()->mutable_face()->set_index(1);
            }),
            "further_faces[0].source.face.index is 1, must not be that of source.face");
  EXPECT_EQ(message([&](v1::JobConfig& config) {
              config.mutable_output()->set_composition(v1::COMPOSITION_PASTE_BACK);
              pair(config).mutable_source()->set_image("another picture");
            }),
            "further_faces[0].source has a picture or a text, must have only a face with "
            "COMPOSITION_PASTE_BACK");
  EXPECT_EQ(
      message([&](v1::JobConfig& config) { pair(config).mutable_source()->set_video("a video"); }),
      "further_faces[0].source.video is set, must be unset: only source may be a video");
  EXPECT_EQ(message([&](v1::JobConfig& config) {
              config.mutable_source()->clear_image();
              config.mutable_source()->set_text("a text");
            }),
            "further_faces[0].source is empty, must have a picture or a text: source has no "
            "picture");
  EXPECT_EQ(message([&](v1::JobConfig& config) {
              pair(config).mutable_source()->set_edit_strength(2);
              pair(config).mutable_source()->set_image("picture");
              pair(config).mutable_source()->set_text("a text");
            }),
            "further_faces[0].source.edit_strength is 2, must be 0 to 1");
}

TEST(ToProtoTest, TheFacesOfEveryPairAreTold) {
  JobSummary summary;
  summary.frame_faces = {{FrameFace::Origin::kFound, 0.75f, 0, false}};
  summary.further_frame_faces = {{{FrameFace::Origin::kHeld, 0, 1, false}}, {}};

  const v1::Summary proto = ToProto(summary, JobPlan{});

  EXPECT_EQ(proto.frame_faces().origin(0), v1::FrameFaces::ORIGIN_FOUND);
  ASSERT_EQ(proto.further_frame_faces_size(), 2);
  EXPECT_EQ(proto.further_frame_faces(0).origin(0), v1::FrameFaces::ORIGIN_HELD);
  EXPECT_EQ(proto.further_frame_faces(0).person(0), 1);
  EXPECT_EQ(proto.further_frame_faces(1).origin_size(), 0);
}

TEST(ToProtoTest, RowsAndTheirPaddingAreTold) {
  JobSummary summary;
  summary.rows_run = 15;

  const v1::Summary proto = ToProto(summary, {.num_rows = 5, .num_padding_slots = 4});

  EXPECT_EQ(proto.rows(), 5);
  EXPECT_EQ(proto.padding_slots(), 4);
  EXPECT_EQ(proto.rows_run(), 15);
}

TEST(ToJobRequestTest, UnknownModelIsNotFoundAndSaysWhichThereAre) {
  v1::JobConfig config = Valid();
  config.set_model("nope");

  EXPECT_THAT(
      ToJobRequest(config, {FakeModel("a"), FakeModel("b")}),
      StatusIs(absl::StatusCode::kNotFound, "model is \"nope\", must be one of \"a\", \"b\""));
}

TEST(ToJobRequestTest, IllegalFieldsNameFieldValueAndRange) {
  struct Case {
    std::function<void(v1::JobConfig&)> change;
    std::string message;
  };
  const Case cases[] = {
      {[](auto& c) { c.clear_source(); }, "source is empty, must have an image"},
      {[](auto& c) { c.mutable_source()->set_text("x"); },
       "source.text is set, but model \"fake\" takes no text"},
      {[](auto& c) { c.mutable_source()->set_text(std::string(1001, 'x')); },
       "source.text has 1001 bytes, must have at most 1000"},
      {[](auto& c) { c.mutable_source()->set_edit_strength(0.5); },
       "source.edit_strength is set, must be unset without a picture and a text or edit"},
      {[](auto& c) { c.mutable_source()->set_text(" \t\n"); },
       "source.text is only white space, must have a word"},
      {[](auto& c) { c.mutable_source()->mutable_edit()->set_from("x"); },
       "source.edit is set, but model \"fake\" takes no text"},
      {[](auto& c) { c.mutable_source()->mutable_edit()->set_from("x"); },
       "source.edit.to has 0 bytes, must have 1 to 1000"},
      {[](auto& c) { c.mutable_source()->mutable_edit()->set_to("x"); },
       "source.edit.from has 0 bytes, must have 1 to 1000"},
      {[](auto& c) { c.mutable_source()->mutable_edit()->set_to(std::string(1001, 'x')); },
       "source.edit.to has 1001 bytes, must have at most 1000"},
      {[](auto& c) { c.mutable_source()->mutable_edit()->set_from(" "); },
       "source.edit.from is only white space, must have a word"},
      {[](auto& c) {
         c.mutable_source()->set_text("a hat");
         c.mutable_source()->mutable_edit()->set_from("x");
       },
       "source.edit is set, must be unset beside source.text"},
      {[](auto& c) {
         c.mutable_source()->clear_image();
         c.mutable_source()->mutable_edit()->set_from("x");
       },
       "source.edit is set, must be unset without a picture"},
      {[](auto& c) { c.mutable_source()->set_edit_strength(std::nan("")); },
       "source.edit_strength is nan, must be 0 to 1"},
      {[](auto& c) { c.mutable_source()->set_edit_strength(1.5); },
       "source.edit_strength is 1.5, must be 0 to 1"},
      {[](auto& c) { c.set_num_steps(0); }, "num_steps is 0, must be 2 to 1000"},
      {[](auto& c) { c.set_num_steps(-1); }, "num_steps is -1, must be 2 to 1000"},
      {[](auto& c) { c.set_num_steps(1001); }, "num_steps is 1001, must be 2 to 1000"},
      {[](auto& c) { c.set_sampler(v1::SAMPLER_DDPM); },
       "sampler is SAMPLER_DDPM, must be one of SAMPLER_DDIM"},
      {[](auto& c) { c.set_sampler(static_cast<v1::Sampler>(9)); }, "sampler is 9, must be 0 to 3"},
      {[](auto& c) { c.set_ddim_eta(-0.1); }, "ddim_eta is -0.1, must be 0 to 1"},
      {[](auto& c) { c.set_ddim_eta(std::nan("")); }, "ddim_eta is nan, must be 0 to 1"},
      {[](auto& c) { c.set_guidance_scale(21); }, "guidance_scale is 21, must be 0 to 20"},
      {[](auto& c) { c.set_guidance_scale(std::numeric_limits<double>::infinity()); },
       "guidance_scale is inf, must be 0 to 20"},
      {[](auto& c) { c.set_sequence_plan(static_cast<v1::SequencePlan>(5)); },
       "sequence_plan is 5, must be 0 to 4"},
      {[](auto& c) { c.set_long_video_method(static_cast<v1::LongVideoMethod>(5)); },
       "long_video_method is 5, must be 0 to 4"},
      {[](auto& c) { c.set_anchor_placement(static_cast<v1::AnchorPlacement>(3)); },
       "anchor_placement is 3, must be 0 to 2"},
      {[](auto& c) { c.mutable_window(); },
       "window is set, must be unset with LONG_VIDEO_METHOD_ANCHORED"},
      {[](auto& c) {
         c.set_long_video_method(v1::LONG_VIDEO_METHOD_OVERLAPPED);
         c.mutable_window()->set_frames(5);
       },
       "window.frames is 5, must be 1 to 4"},
      {[](auto& c) {
         c.set_long_video_method(v1::LONG_VIDEO_METHOD_MULTIDIFFUSION);
         c.mutable_window()->set_frames(3);
         c.mutable_window()->set_overlap(3);
       },
       "window.overlap is 3, must be 0 to 2"},
      {[](auto& c) {
         c.set_long_video_method(v1::LONG_VIDEO_METHOD_INDEPENDENT);
         c.mutable_window()->set_overlap(0);
       },
       "window.overlap is set, must be unset with LONG_VIDEO_METHOD_INDEPENDENT"},
      {[](auto& c) {
         c.set_long_video_method(v1::LONG_VIDEO_METHOD_INDEPENDENT);
         c.set_sequence_plan(v1::SEQUENCE_PLAN_CENTRAL_RANDOM);
       },
       "sequence_plan is SEQUENCE_PLAN_CENTRAL_RANDOM, must be unset with "
       "LONG_VIDEO_METHOD_INDEPENDENT"},
      {[](auto& c) {
         c.set_long_video_method(v1::LONG_VIDEO_METHOD_OVERLAPPED);
         c.set_anchor_placement(v1::ANCHOR_PLACEMENT_SINGLE);
       },
       "anchor_placement is ANCHOR_PLACEMENT_SINGLE, must be unset with "
       "LONG_VIDEO_METHOD_OVERLAPPED"},
      {[](auto& c) {
         c.set_long_video_method(v1::LONG_VIDEO_METHOD_MULTIDIFFUSION);
         c.mutable_live();
       },
       "long_video_method is LONG_VIDEO_METHOD_MULTIDIFFUSION, must be LONG_VIDEO_METHOD_ANCHORED "
       "or unset with live"},
      {[](auto& c) {
         c.set_anchor_placement(v1::ANCHOR_PLACEMENT_PER_SCENE);
         c.set_sequence_plan(v1::SEQUENCE_PLAN_CONTIGUOUS);
       },
       "anchor_placement is ANCHOR_PLACEMENT_PER_SCENE, must be ANCHOR_PLACEMENT_SINGLE or unset "
       "with SEQUENCE_PLAN_CONTIGUOUS"},
      {[](auto& c) {
         c.set_sequence_plan(v1::SEQUENCE_PLAN_BALANCED);
         c.mutable_live();
       },
       "sequence_plan is SEQUENCE_PLAN_BALANCED, must be SEQUENCE_PLAN_CONTIGUOUS or unset with "
       "live"},
      {[](auto& c) { c.set_no_face_policy(static_cast<v1::NoFacePolicy>(-1)); },
       "no_face_policy is -1, must be 0 to 3"},
      {[](auto& c) { c.mutable_motion()->set_mode(static_cast<v1::MotionMode>(3)); },
       "motion.mode is 3, must be 0 to 2"},
      {[](auto& c) { c.mutable_motion()->set_gaze(2.5); }, "motion.gaze must be 0..2, is 2.5"},
      {[](auto& c) {
         c.mutable_source()->clear_image();
         c.mutable_source()->set_text("a face");
         c.mutable_motion()->set_mode(v1::MOTION_MODE_RELATIVE);
       },
       "motion.mode is MOTION_MODE_RELATIVE, must be MOTION_MODE_ABSOLUTE or unset without a "
       "source.image"},
      {[](auto& c) { c.set_smoothing(-1); }, "smoothing must be 0..4, is -1"},
      {[](auto& c) { c.mutable_source()->mutable_face()->set_index(64); },
       "source.face.index is 64, must be 0 to 63"},
      {[](auto& c) { c.mutable_driver_face()->mutable_position()->set_y(1.5); },
       "driver_face.position.y is 1.5, must be 0 to 1"},
      {[](auto& c) { c.mutable_driver_face()->set_reference_image(""); },
       "driver_face.reference_image has 0 bytes, must have 1 or more"},
      {[](auto& c) { c.mutable_output()->set_codec(static_cast<v1::VideoCodec>(6)); },
       "output.codec is 6, must be 0 to 5"},
      {[](auto& c) {
         c.mutable_output()->set_codec(v1::VIDEO_CODEC_MJPEG);
         c.mutable_output()->set_crf(1);
       },
       "output.crf is 1, must be 2 to 31"},
      {[](auto& c) {
         c.mutable_output()->set_codec(v1::VIDEO_CODEC_LOSSLESS);
         c.mutable_output()->set_crf(0);
       },
       "output.crf is set, must be unset with VIDEO_CODEC_LOSSLESS"},
      {[](auto& c) {
         c.mutable_output()->set_format(v1::OUTPUT_FORMAT_PNG);
         c.mutable_output()->set_codec(v1::VIDEO_CODEC_VP9);
       },
       "output.codec is set, must be unset without OUTPUT_FORMAT_FRAGMENTED_MP4"},
      {[](auto& c) {
         c.mutable_output()->set_composition(v1::COMPOSITION_PASTE_BACK);
         c.mutable_output()->set_size(64);
       },
       "output.size is set, must be unset with COMPOSITION_PASTE_BACK"},
      {[](auto& c) { c.mutable_output()->set_matte(static_cast<v1::Matte>(4)); },
       "output.matte is 4, must be 0 to 3"},
      {[](auto& c) { c.mutable_output()->set_matte(v1::MATTE_ALPHA); },
       "output.matte is MATTE_ALPHA, must be MATTE_BELOW, MATTE_NONE or unset without "
       "OUTPUT_FORMAT_PNG or OUTPUT_FORMAT_RAW_RGB"},
      {[](auto& c) { c.mutable_source()->set_video("clip"); },
       "source.video is set, must be unset beside source.image"},
      {[](auto& c) {
         c.mutable_source()->clear_image();
         c.mutable_source()->set_video(std::string((1 << 20) + 1, 'v'));
       },
       "source.video has 1048577 bytes, must have at most 1048576"},
      {[](auto& c) { c.mutable_output()->set_format(static_cast<v1::OutputFormat>(5)); },
       "output.format is 5, must be 0 to 4"},
      {[](auto& c) { c.mutable_output()->set_size(15); }, "output.size is 15, must be 16 to 256"},
      {[](auto& c) { c.mutable_output()->set_size(258); }, "output.size is 258, must be 16 to 256"},
      {[](auto& c) { c.mutable_output()->set_size(17); }, "output.size is 17, must be even"},
      {[](auto& c) { c.mutable_output()->set_crf(52); }, "output.crf is 52, must be 0 to 51"},
      {[](auto& c) {
         c.mutable_output()->set_format(v1::OUTPUT_FORMAT_PNG);
         c.mutable_output()->set_crf(20);
       },
       "output.crf is set, must be unset without OUTPUT_FORMAT_FRAGMENTED_MP4"},
      {[](auto& c) { c.mutable_output()->set_jpeg_quality(80); },
       "output.jpeg_quality is set, must be unset without OUTPUT_FORMAT_JPEG"},
      {[](auto& c) {
         c.mutable_output()->set_format(v1::OUTPUT_FORMAT_JPEG);
         c.mutable_output()->set_jpeg_quality(0);
       },
       "output.jpeg_quality is 0, must be 1 to 100"},
      {[](auto& c) { c.set_priority(101); }, "priority is 101, must be -100 to 100"},
      {[](auto& c) { c.set_priority(-101); }, "priority is -101, must be -100 to 100"},
      {[](auto& c) { c.set_idempotency_key(std::string(129, 'k')); },
       "idempotency_key has 129 bytes, must have at most 128"},
      {[](auto& c) {
         c.mutable_live();
         c.set_sequence_plan(v1::SEQUENCE_PLAN_CENTRAL_RANDOM);
       },
       "sequence_plan is SEQUENCE_PLAN_CENTRAL_RANDOM, must be SEQUENCE_PLAN_CONTIGUOUS or unset "
       "with live"},
      {[](auto& c) { c.mutable_live()->mutable_time_base()->set_denominator(25); },
       "live.time_base.numerator is 0, must be 1 to 1000000000"},
      {[](auto& c) {
         c.mutable_live()->mutable_time_base()->set_numerator(1);
         c.mutable_live()->mutable_time_base()->set_denominator(-25);
       },
       "live.time_base.denominator is -25, must be 1 to 1000000000"},
      {[](auto& c) { c.mutable_live()->set_skip_policy(static_cast<v1::SkipPolicy>(3)); },
       "live.skip_policy is 3, must be 0 to 2"},
      {[](auto& c) { c.mutable_live()->mutable_max_wait()->set_nanos(-1); },
       "live.max_wait is -1ns, must be 0 to 10s"},
      {[](auto& c) {
         c.mutable_live()->mutable_max_wait()->set_seconds(10);
         c.mutable_live()->mutable_max_wait()->set_nanos(1);
       },
       "live.max_wait is 10.000000001s, must be 0 to 10s"},
  };
  for (const Case& c : cases) {
    v1::JobConfig config = Valid();
    c.change(config);

    EXPECT_THAT(ToJobRequest(config, {FakeModel()}),
                StatusIs(absl::StatusCode::kInvalidArgument, c.message));
  }
}

TEST(ToJobRequestTest, ListsAllProblems) {
  v1::JobConfig config = Valid();
  config.set_num_steps(0);
  config.mutable_output()->set_crf(99);

  EXPECT_THAT(ToJobRequest(config, {FakeModel()}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       "num_steps is 0, must be 2 to 1000; output.crf is 99, must be 0 to 51"));
}

TEST(StatusDetailsTest, BugsAreHiddenFromTheCallerBehindTheJobId) {
  const absl::Status shown = ForCaller(absl::InternalError("/home/secret.cc:12 oops"), "abc123");
  const absl::Status unknown = ForCaller(absl::UnknownError("what"), "abc123");

  EXPECT_THAT(shown, StatusIs(absl::StatusCode::kInternal, "abc123"));
  EXPECT_THAT(std::string(shown.message()), ::testing::Not(::testing::HasSubstr("secret")));
  EXPECT_THAT(unknown, StatusIs(absl::StatusCode::kInternal, "abc123"));
  EXPECT_THAT(ForCaller(absl::InvalidArgumentError("frame 3"), "abc123"),
              StatusIs(absl::StatusCode::kInvalidArgument, "frame 3"));
}

}  // namespace
}  // namespace reenact
