#include "training/data_cache.h"

#include "pipeline/weights/safetensors.h"
#include "tests/support/face_models.h"
#include "tests/training/tiny_data.h"
#include "training/landmark_augmentation.h"
#include "training/people/people.h"

namespace reenact {
namespace {

using testing::FreshFolder;
using testing::TinyDataOptions;

std::string FileBytes(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream bytes;
  bytes << in.rdbuf();
  return bytes.str();
}

TEST(DataCacheTest, BytesDependNeitherOnThreadsNorOnTheRun) {
  const std::string folder = FreshFolder();
  std::ostringstream log;
  DataOptions one = TinyDataOptions(folder + "/one"), two = TinyDataOptions(folder + "/two");
  one.people = two.people = kPeoplePerShard + 1;  // two shards
  one.frames = two.frames = 2;
  one.size = two.size = 8;
  two.threads = 2;

  ASSERT_TRUE(WriteDataCache(one, log).ok());
  ASSERT_TRUE(WriteDataCache(two, log).ok());

  for (const char* shard : {"/people-00000.safetensors", "/people-00001.safetensors"}) {
    ASSERT_FALSE(FileBytes(one.out + shard).empty());
    EXPECT_TRUE(FileBytes(one.out + shard) == FileBytes(two.out + shard)) << shard;
  }
}

TEST(DataCacheTest, ReadsBackWhatWasDrawn) {
  const DataCache& data = testing::TinyData();

  EXPECT_EQ(data.frames.sizes(), (std::vector<int64_t>{6, 6, 3, 32, 32}));
  EXPECT_EQ(data.masks.sizes(), (std::vector<int64_t>{6, 6, 32, 32}));
  EXPECT_EQ(data.landmarks.sizes(), (std::vector<int64_t>{6, 6, 478, 3}));
  EXPECT_EQ(data.lookalikes.sizes(), (std::vector<int64_t>{6, 6, 1, 478, 3}));
  for (uint64_t p = 0; p < 6; ++p) {
    EXPECT_EQ(data.seeds[p], p);
    EXPECT_EQ(data.captions[p][1], Caption(MakePerson(p), 1));
    const std::vector<uint8_t> mask =
        ExpressiveMask(ToLandmarks(data.landmarks[static_cast<int64_t>(p)][0]), 32);
    EXPECT_EQ(data.masks[static_cast<int64_t>(p)][0].sum().item<int64_t>(),
              std::count(mask.begin(), mask.end(), 1));
  }
}

TEST(DataCacheTest, LookalikesMoveAlikeButLookDifferent) {
  const DataCache& data = testing::TinyData();

  const torch::Tensor difference =
      (data.lookalikes.select(2, 0) - data.landmarks).norm(2, -1).mean(-1);  // [P,F]

  // Another face shape: some hundredths of the picture off, in every frame, never far.
  EXPECT_GT(difference.min().item<double>(), 1e-4);
  EXPECT_LT(difference.max().item<double>(), 0.15);
}

using FoundLandmarksTest = testing::FaceModelTest;

// Their distance without depth, which has another origin, as a share of the eyes' distance.
double FlatDistance(const torch::Tensor& found, const torch::Tensor& exact) {
  Landmarks a = ToLandmarks(found), b = ToLandmarks(exact);
  for (Landmarks* landmarks : {&a, &b}) {
    for (Point3& point : *landmarks) point.z = 0;
  }
  return MeanDistance(a, b) / EyeDistance(b);
}

TEST_F(FoundLandmarksTest, AreNearTheExactOnesOfThePersonAndOfTheLookalikes) {
  DataOptions options = TinyDataOptions(FreshFolder());
  options.people = 8;
  options.frames = 3;
  options.size = 128;
  options.open_landmarker = [this] { return FaceLandmarker::Create(models_); };
  std::ostringstream log;
  ASSERT_TRUE(WriteDataCache(options, log).ok());
  EXPECT_THAT(log.str(), ::testing::HasSubstr("faces found in 48 of 48 pictures"));

  const auto data = ReadDataCache(options.out);

  ASSERT_TRUE(data.ok()) << data.status();
  ASSERT_EQ(data->found.sizes(), (std::vector<int64_t>{8, 3, 2, kNumLandmarks, 3}));
  for (int64_t p = 0; p < data->num_people(); ++p) {
    for (int64_t f = 0; f < data->num_frames(); ++f) {
      const torch::Tensor found = data->found[p][f];
      EXPECT_LT(FlatDistance(found[0], data->landmarks[p][f]), 0.2) << p << ' ' << f;
      EXPECT_LT(FlatDistance(found[1], data->lookalikes[p][f][0]), 0.2) << p << ' ' << f;
    }
  }
  // They differ as the two faces do.
  const auto flat = [](const torch::Tensor& landmarks) { return landmarks.narrow(-1, 0, 2); };
  const torch::Tensor seen = flat(data->found.select(2, 1) - data->found.select(2, 0));
  const torch::Tensor exact = flat(data->lookalikes.select(2, 0) - data->landmarks);
  EXPECT_GT((seen * exact).sum().item<double>(),
            0.3 * seen.norm().item<double>() * exact.norm().item<double>());
}

TEST_F(FoundLandmarksTest, AreNotANumberWhereThereIsNoFaceAndAbsentWhereNobodyLooked) {
  DataOptions options = TinyDataOptions(FreshFolder());
  options.people = 1;
  options.frames = 2;
  options.size = 8;  // too small for any face
  options.open_landmarker = [this] { return FaceLandmarker::Create(models_); };
  std::ostringstream log;
  ASSERT_TRUE(WriteDataCache(options, log).ok());
  const auto looked = ReadDataCache(options.out);
  options.open_landmarker = nullptr;
  ASSERT_TRUE(WriteDataCache(options, log).ok());  // over the others, whose options are not these
  const auto not_looked = ReadDataCache(options.out);

  ASSERT_TRUE(looked.ok() && not_looked.ok());
  EXPECT_TRUE(looked->found.isnan().all().item<bool>());
  EXPECT_FALSE(not_looked->found.defined());
  EXPECT_TRUE(torch::equal(looked->lookalikes, not_looked->lookalikes));
}

TEST(DataCacheTest, ALandmarkNetworkThatCannotBeOpenedEndsTheDrawing) {
  DataOptions options = TinyDataOptions(FreshFolder());
  options.open_landmarker = [] { return absl::NotFoundError("no face models"); };
  std::ostringstream log;
  EXPECT_EQ(WriteDataCache(options, log), absl::NotFoundError("no face models"));
}

TEST(DataCacheTest, PortraitsOfAPersonDifferMoreThanMomentsOfAClip) {
  const std::string folder = FreshFolder();
  DataOptions options = TinyDataOptions(folder);
  options.separate_clips = true;
  std::ostringstream log;
  ASSERT_TRUE(WriteDataCache(options, log).ok());
  const auto portraits = ReadDataCache(folder);
  ASSERT_TRUE(portraits.ok()) << portraits.status();
  const auto spread = [](const torch::Tensor& landmarks) {
    return landmarks.std(1).mean().item<double>();
  };

  EXPECT_EQ(portraits->seeds, testing::TinyData().seeds);
  EXPECT_GT(spread(portraits->landmarks), spread(testing::TinyData().landmarks));
}

TEST(DataCacheTest, ChangedLooksArePortraitsInOtherColours) {
  DataOptions options = TinyDataOptions(FreshFolder());
  options.separate_clips = true;
  std::ostringstream log;
  ASSERT_TRUE(WriteDataCache(options, log).ok());
  const auto portraits = ReadDataCache(options.out);
  options.changed_looks = true;
  ASSERT_TRUE(WriteDataCache(options, log).ok());  // over the others, whose options are not these
  const auto changed = ReadDataCache(options.out);
  ASSERT_TRUE(portraits.ok() && changed.ok());

  EXPECT_EQ(changed->seeds, portraits->seeds);
  EXPECT_EQ(changed->captions, portraits->captions);  // of the people themselves
  EXPECT_TRUE(torch::equal(changed->landmarks, portraits->landmarks));
  const torch::Tensor same = changed->frames.eq(portraits->frames).flatten(2).all(2);  // [P,F]
  EXPECT_LE(same.sum().item<int64_t>(), 3);  // of 36: the hair's colour of who has none
  EXPECT_TRUE(portraits->edits.empty());
  ASSERT_EQ(changed->edits.size(), 6u);
  for (size_t p = 0; p < 6; ++p) {
    ASSERT_EQ(changed->edits[p].size(), 6u);
    for (const auto& phrasings : changed->edits[p]) EXPECT_EQ(phrasings.size(), 4u);
  }
  EXPECT_NE(changed->edits[0][0][0].from, changed->edits[0][1][0].from);

  // Eyes play apart from those of portraits whose eyes play: some of each are as they were.
  options.eye_play = 0.5;
  ASSERT_TRUE(WriteDataCache(options, log).ok());
  const auto changed_eyes = ReadDataCache(options.out);
  options.changed_looks = false;
  ASSERT_TRUE(WriteDataCache(options, log).ok());
  const auto eyes = ReadDataCache(options.out);
  ASSERT_TRUE(changed_eyes.ok() && eyes.ok());
  const auto played = [&](const DataCache& data) {
    return (data.landmarks - portraits->landmarks).abs().flatten(2).amax(2).gt(1e-5);
  };
  EXPECT_TRUE((played(*eyes) & ~played(*changed_eyes)).any().item<bool>());
  EXPECT_TRUE((played(*changed_eyes) & ~played(*eyes)).any().item<bool>());

  options.changed_looks = true;
  options.separate_clips = false;
  EXPECT_EQ(WriteDataCache(options, log).code(), absl::StatusCode::kInvalidArgument);
}

TEST(DataCacheTest, EyesPlayInTheirShareOfTheFramesAndNothingElseDoes) {
  DataOptions options = TinyDataOptions(FreshFolder());
  options.people = 20;
  std::ostringstream log;
  ASSERT_TRUE(WriteDataCache(options, log).ok());
  const auto calm = ReadDataCache(options.out);
  options.eye_play = 0.5;
  ASSERT_TRUE(WriteDataCache(options, log).ok());
  const auto playing = ReadDataCache(options.out);
  ASSERT_TRUE(calm.ok() && playing.ok());

  const torch::Tensor moved = (playing->landmarks - calm->landmarks).abs().amax(3);  // [P,F,478]
  EXPECT_NEAR(moved.amax(2).gt(1e-5).to(torch::kFloat32).mean().item<double>(), 0.5, 0.14);
  for (const int64_t still : {1, 13, 61, 152}) {  // nose, lip, corner of the mouth, chin
    EXPECT_LT(moved.select(2, still).max().item<double>(), 1e-3) << still;
  }
  const auto opening = [](const DataCache& data) {  // of the right eye, of the picture's height
    return data.landmarks.select(2, 145).select(2, 1) - data.landmarks.select(2, 159).select(2, 1);
  };
  EXPECT_GT(opening(*playing).lt(0.004).sum().item<int64_t>(),
            opening(*calm).lt(0.004).sum().item<int64_t>() + 10);
  EXPECT_TRUE(torch::equal(playing->frames.select(2, 0).select(2, 0),
                           calm->frames.select(2, 0).select(2, 0)));  // the uppermost row

  options.eye_play = 1.5;
  EXPECT_EQ(WriteDataCache(options, log).code(), absl::StatusCode::kInvalidArgument);
}

TEST(DataCacheTest, HeadsTurnFarInTheirShareOfTheFramesAlsoWithChangedLooks) {
  DataOptions options = TinyDataOptions(FreshFolder());
  options.people = 30;
  options.separate_clips = true;
  const auto draw = [&] {
    std::ostringstream log;
    EXPECT_TRUE(WriteDataCache(options, log).ok());
    auto data = ReadDataCache(options.out);
    EXPECT_TRUE(data.ok()) << data.status();
    return data.ok() ? data->landmarks : torch::Tensor();
  };
  const torch::Tensor calm = draw();
  options.head_play = 0.5;
  const torch::Tensor turned = draw();
  options.changed_looks = true;
  const torch::Tensor changed = draw();

  const torch::Tensor moved = (turned - calm).abs().flatten(2).amax(2);  // [P,F]
  EXPECT_NEAR(moved.gt(1e-5).to(torch::kFloat32).mean().item<double>(), 0.5, 0.12);
  // By how much one outer corner of the eyes is nearer than the other, in their distance: the sine
  // of the turn to the side.
  const auto num_turned = [](const torch::Tensor& landmarks) {
    const torch::Tensor apart = landmarks.select(2, 263) - landmarks.select(2, 33);
    return (apart.select(2, 2).abs() / apart.norm(2, -1)).gt(0.5).sum().item<int64_t>();
  };
  EXPECT_LT(num_turned(calm), 10);    // of 180 frames
  EXPECT_GT(num_turned(turned), 12);  // a quarter of those that play
  EXPECT_LT((changed - turned).abs().max().item<double>(), 1e-5);

  options.head_play = -0.5;
  std::ostringstream log;
  EXPECT_EQ(WriteDataCache(options, log).code(), absl::StatusCode::kInvalidArgument);
}

TEST(DataCacheTest, EditsThatDoNotFitAreRefused) {
  DataOptions options = TinyDataOptions(FreshFolder());
  options.separate_clips = options.changed_looks = true;
  std::ostringstream log;
  ASSERT_TRUE(WriteDataCache(options, log).ok());
  const std::string path = options.out + "/people-00000.safetensors";
  const auto file = ReadSafetensors(path);
  ASSERT_TRUE(file.ok());

  for (const char* edits : {"", "[]", "[1,2,3,4,5,6]", "[[],[],[],[],[],[]]"}) {
    auto metadata = file->metadata;
    metadata["edits"] = edits;
    ASSERT_TRUE(WriteSafetensors(path, file->tensors, metadata).ok());

    const auto data = ReadDataCache(options.out);

    EXPECT_EQ(data.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(data.status().message()), ::testing::HasSubstr("edits do not fit"));
  }
}

TEST(DataCacheTest, APersonOfSeveralLooksCountsAsSeveralPeople) {
  DataOptions options = TinyDataOptions(FreshFolder());
  options.people = 20;
  options.looks = 3;  // more than a shard holds
  options.frames = 2;
  std::ostringstream log;
  ASSERT_TRUE(WriteDataCache(options, log).ok());

  const auto data = ReadDataCache(options.out);

  ASSERT_TRUE(data.ok()) << data.status();
  ASSERT_EQ(data->num_people(), 60);
  std::set<std::string> captions;
  for (size_t i = 0; i < 60; ++i) {
    const uint64_t seed = i / 3;
    EXPECT_EQ(data->seeds[i], seed);
    if (i % 3 == 0) {
      EXPECT_EQ(data->captions[i][0], Caption(MakePerson(seed)));
    }
    captions.insert(data->captions[i][0]);
  }
  EXPECT_GT(captions.size(), 45u);  // what changes may be what no caption names

  options.looks = 33;
  EXPECT_EQ(WriteDataCache(options, log).code(), absl::StatusCode::kInvalidArgument);
}

TEST(DataCacheTest, ReadsOnlyAsManyPeopleAsAsked) {
  const std::string folder = FreshFolder();
  std::ostringstream log;
  ASSERT_TRUE(WriteDataCache(TinyDataOptions(folder), log).ok());

  const auto data = ReadDataCache(folder, 4);

  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ(data->num_people(), 4);
  EXPECT_EQ(data->captions.size(), 4u);
}

TEST(DataCacheTest, PartialCaptionsComeAfterTheOthers) {
  DataOptions options = TinyDataOptions(FreshFolder());
  options.captions = 2;
  options.partial_captions = 5;
  std::ostringstream log;
  ASSERT_TRUE(WriteDataCache(options, log).ok());

  const auto data = ReadDataCache(options.out);

  ASSERT_TRUE(data.ok()) << data.status();
  for (uint64_t p = 0; p < 6; ++p) {
    ASSERT_EQ(data->captions[p].size(), 7u);
    EXPECT_EQ(data->captions[p][1], Caption(MakePerson(p), 1));
    EXPECT_LT(data->captions[p][2].size(), data->captions[p][0].size());
  }
}

TEST(DataCacheTest, HeldOutPeopleDoNotMixWithTheOthers) {
  DataOptions options = TinyDataOptions(FreshFolder());
  options.first_seed = kFirstHeldOutSeed - 3;
  std::ostringstream log;

  EXPECT_EQ(WriteDataCache(options, log).code(), absl::StatusCode::kInvalidArgument);
}

TEST(DataCacheTest, DamagedShardIsNamed) {
  const std::string folder = FreshFolder();
  std::ostringstream log;
  ASSERT_TRUE(WriteDataCache(TinyDataOptions(folder), log).ok());
  const std::string shard = folder + "/people-00000.safetensors";
  std::filesystem::resize_file(shard, std::filesystem::file_size(shard) - 100);

  const auto data = ReadDataCache(folder);

  EXPECT_EQ(data.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(data.status().message()), ::testing::HasSubstr("people-00000"));
}

TEST(DataCacheTest, FoundLandmarksOfOtherLookalikesAreRefused) {
  const std::string folder = FreshFolder();
  std::ostringstream log;
  ASSERT_TRUE(WriteDataCache(TinyDataOptions(folder), log).ok());
  const std::string shard = folder + "/people-00000.safetensors";
  auto file = ReadSafetensors(shard);
  ASSERT_TRUE(file.ok()) << file.status();
  file->tensors["found"] = torch::zeros({6, 6, 2, kNumLandmarks, 3});
  ASSERT_TRUE(WriteSafetensors(shard, file->tensors, file->metadata).ok());
  EXPECT_TRUE(ReadDataCache(folder).ok());
  file->tensors["found"] = torch::zeros({6, 6, 3, kNumLandmarks, 3});
  ASSERT_TRUE(WriteSafetensors(shard, file->tensors, file->metadata).ok());

  EXPECT_THAT(ReadDataCache(folder).status().message(),
              ::testing::HasSubstr("in pictures of 2 lookalikes, there are 1"));
}

TEST(DataCacheTest, EmptyFolderIsNotFound) {
  EXPECT_EQ(ReadDataCache(FreshFolder()).status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace reenact
