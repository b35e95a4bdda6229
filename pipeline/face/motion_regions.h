// Which landmarks belong to what moves in a face, and how far it has moved.
//
// Left and right are the picture's: the "left" eye is the one with iris landmark 468. Pure
// functions, no state.
#pragma once

#include <array>
#include <cstddef>

#include "pipeline/face/head_pose.h"
#include "pipeline/face/landmarks.h"

namespace reenact {

struct MotionRegions {
  // An upper point and the lower one it meets when eye or mouth closes.
  struct Pair {
    size_t upper, lower;
  };
  struct Eye {
    size_t outer_corner, inner_corner;
    std::array<Pair, 7> lids;
    size_t iris;  // the centre; the next four are its rim
  };

  static constexpr std::array<Eye, 2> kEyes = {
      {{33,
        133,
        {{{246, 7}, {161, 163}, {160, 144}, {159, 145}, {158, 153}, {157, 154}, {173, 155}}},
        468},
       {263,
        362,
        {{{466, 249}, {388, 390}, {387, 373}, {386, 374}, {385, 380}, {384, 381}, {398, 382}}},
        473}}};
  // From the left corner to the right one.
  static constexpr std::array<Pair, 9> kLips = {{{191, 95},
                                                 {80, 88},
                                                 {81, 178},
                                                 {82, 87},
                                                 {13, 14},
                                                 {312, 317},
                                                 {311, 402},
                                                 {310, 318},
                                                 {415, 324}}};
  static constexpr size_t kMiddleOfLips = 4;  // in kLips
  static constexpr size_t kLeftMouthCorner = 61, kRightMouthCorner = 291;
  static constexpr size_t kInnerLeftMouthCorner = 78, kInnerRightMouthCorner = 308;
  static constexpr size_t kUnderNose = 2, kChin = 152;
  static constexpr size_t kIrises = 468;  // the first of ten

  // One number in 0..1 per landmark, smooth over the face; 0 for the irises.
  using Field = std::array<double, kNumLandmarks>;
  Field mouth;                // what moves with the mouth; the rest moves with the eyes
  Field jaw;                  // lips and chin
  std::array<Field, 2> lids;  // the surroundings of each of kEyes
  Field brows;

  static const MotionRegions& Get();
};

// Height of the opening between a pair, cm; below 0 where they have crossed.
double Gap(const HeadShape& shape, const MotionRegions::Pair& pair);

// Greatest Gap() between the lips over the distance of the mouth's corners: 0 closed, 1 wide open.
double MouthOpening(const HeadShape& shape);

// Mean Gap() between the lids over the distance of the eye's corners; some 0.2 for an open eye.
// `eye` is an index into kEyes.
double EyeOpening(const HeadShape& shape, size_t eye);

// How much higher the mouth's corners are than the middle between the lips, cm.
double CornerLift(const HeadShape& shape);

// The face with its mouth closed, its smile gone and its eyes open, as far as geometry can tell
// without knowing the person; what is at rest already stays as it is.
HeadShape AtRest(const HeadShape& shape);

}  // namespace reenact
