// Synthetic people to train and demonstrate on: drawn, never recorded, so nobody's face or motion
// is in them, and the landmarks of every picture are known exactly.
//
// A seed makes a Person (looks), another a clip of FaceStates (motion); PersonRenderer draws one in
// the pose of the other. Everything here is a pure function of its arguments: same seed, same
// bytes, whatever the compiler.
//
// Units: cm in the frame of the canonical mesh (x = picture right, y up, z towards the camera),
// degrees, and fractions of the picture. Left and right are always the picture's, so the "left" eye
// is the one with iris landmark 468.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "pipeline/face/landmarks.h"
#include "pipeline/image.h"

namespace reenact {

// A colour, 0..255 a channel.
struct Rgb {
  float r = 0, g = 0, b = 0;
};

enum class AgeGroup { kYoung, kMiddleAged, kOld };
enum class HairStyle { kBald, kBuzzCut, kShort, kAfro, kBob, kLong, kBun };
enum class Beard { kNone, kStubble, kFull };
enum class Glasses { kNone, kRound, kSquare, kThin };
enum class Hat { kNone, kBeanie, kCap };
enum class Backdrop { kPlain, kGradient, kSoftLights };
enum class ClothPattern { kNone, kChecks, kDots };

// How much varies from person to person. kPlain: what the shipped demo bundle was trained on. kRich
// adds patterns on clothes, a second and third light and the camera, from random numbers of its
// own: everything else of a seed is the same in both.
enum class Variety { kPlain, kRich };

// How a face departs from the average one; every number in [-1, 1], 0 = average.
struct FaceShape {
  float face_width = 0, jaw_width = 0, chin_length = 0, chin_width = 0, forehead_height = 0,
        head_depth = 0;
  float nose_length = 0, nose_width = 0, nose_protrusion = 0, nose_bridge = 0;
  float eye_size = 0, eye_spacing = 0, eye_slant = 0, brow_height = 0;
  float mouth_width = 0, mouth_height = 0, lip_thickness = 0, cheeks = 0;
};

// A named colour of a palette (person.h has the palettes), moved a little so that no two people
// share it exactly.
struct Paint {
  int name = 0;  // index into the palette
  Rgb color;
};

// A light beside the main one.
struct ExtraLight {
  std::array<float, 3> direction{0, 0, 1};  // unit vector to the light
  int color = 0;                            // index into kLightColors (palettes.h)
  float strength = 0;                       // brightness it adds to what faces it, 1 = full
};

// How the picture is taken.
struct Lens {
  float distance = 60;  // cm from the head; a near camera makes the nearer parts larger
  float exposure = 1;   // brightness of the whole picture
  float warmth = 0;     // white balance, -1 blue .. 1 yellow
  float vignette = 0;   // how much darker the corners are
};

struct Person {
  uint64_t seed = 0;
  bool man = false;
  AgeGroup age = AgeGroup::kYoung;
  FaceShape shape;

  Paint skin, hair, eyes, clothes, hat_paint, background;
  Rgb glasses_color, lipstick_color;

  HairStyle hair_style = HairStyle::kShort;
  float fringe_length = 0;   // cm down the forehead; 0 = none
  float fringe_parting = 0;  // -1..1, where a short fringe parts
  Beard beard = Beard::kNone;
  bool moustache = false;
  Glasses glasses = Glasses::kNone;
  Hat hat = Hat::kNone;
  bool striped_clothes = false;
  int collar = 0;  // 0 high, 1 round, 2 low
  Backdrop backdrop = Backdrop::kPlain;

  float brow_thickness = 1, make_up = 0, lipstick = 0, blush = 0;
  bool freckles = false;

  std::array<float, 3> light_direction{0, 0, 1};  // unit vector to the light
  float light_contrast = 0.5f;                    // 0.45 soft .. 0.7 hard

  ClothPattern pattern = ClothPattern::kNone;
  std::vector<ExtraLight> extra_lights;
  Lens lens;
};

Person MakePerson(uint64_t seed, Variety variety = Variety::kPlain);

// The same face with other looks: one of hair colour, hair style (with the hat), glasses, beard,
// clothes and background is changed, and half the time each other one with probability 0.4.
// Glasses, the smallest in a picture, are changed most often. The face's shape, skin, eyes, age and
// light stay.
Person ChangeLooks(const Person& person, uint64_t seed);

// kShort names what is seen at a glance; kDetailed adds the face's build, brows, make-up, light and
// camera. kPartial names one to four things only, as callers do, what is missing ("no glasses")
// too.
enum class CaptionDetail { kPartial, kShort, kDetailed };

// An English description of what can be seen. `phrasing` picks one of 8 sentence forms and word
// choices; all of them name the same attributes. For kPartial it is the seed of the choice.
std::string Caption(const Person& person, uint64_t phrasing = 0,
                    CaptionDetail detail = CaptionDetail::kShort);

// Two descriptions that say what changes from one's looks to another's, as a caller of an edit
// would: "no glasses" to "round glasses".
struct EditTexts {
  std::string from, to;
};

// Of the things ChangeLooks() changes, those that differ, in the same words and order in both
// texts; sometimes, and where none of them differs, two whole captions.
EditTexts DescribeEdit(const Person& from, const Person& to, uint64_t seed);

// Head rotation in degrees. Positive yaw turns the nose to the picture's right, positive pitch
// lowers it, positive roll leans the crown to the picture's left.
struct Pose {
  float yaw = 0, pitch = 0, roll = 0;
};

// Action units. 0 = a relaxed face with open eyes and closed mouth; 1 = about the 97 % point of
// measured speech and mimics.
struct Expression {
  float jaw_drop = 0;                             // 0..1
  float smile = 0;                                // -1 corners down .. 1 broad smile
  float pucker = 0;                               // 0..1
  float mouth_shift = 0;                          // -1 left .. 1 right
  float upper_lip_raise = 0, lower_lip_drop = 0;  // 0..1
  float eye_close_left = 0, eye_close_right = 0;  // 0 open .. 1 closed
  float eyes_wide = 0;                            // 0..1
  float brow_inner = 0, brow_outer = 0;           // -1 lowered .. 1 raised
  float gaze_x = 0, gaze_y = 0;                   // -1..1, positive = picture right, up
  float cheek_raise = 0;                          // 0..1
};

// Where the head is in the picture.
struct View {
  float shift_x = 0, shift_y = 0;  // fractions of the picture; positive = right, down
  float scale = 1;                 // 1 = an average face is about 0.58 of the picture high
};

struct FaceState {
  Pose pose;
  Expression expression;
  View view;
};

// Smooth random motion: speech with pauses, smiles, blinks of 0.15 to 0.3 s every 2 to 5 s, gaze
// shifts, head sway. |yaw| <= 35, |pitch| <= 20, |roll| <= 15; the view is that of one clip (0.85
// <= scale <= 1.15). `fps` > 0.
std::vector<FaceState> MakeClip(uint64_t seed, int num_frames, double fps);

// A fixed performance for demonstrations: turns left and right, opens the mouth wide, smiles,
// blinks, nods. It takes ten seconds and starts over after that.
std::vector<FaceState> DemoMotion(int num_frames, double fps);

struct Render {
  Image image;
  Landmarks landmarks;  // exact, not detected; hidden points included, so they may lie outside the
                        // picture
};

enum class Region : uint8_t {
  kBackground,
  kSkin,
  kLips,
  kEyes,
  kMouth,
  kBrows,
  kHair,
  kNeck,
  kEars,
  kClothes,
  kHat,
  kGlasses,
};

// What every pixel shows; row-major, size*size.
struct Truth {
  std::vector<Region> regions;
  std::vector<float> depth;  // cm from the camera; 0 = background
};

// Draws one person. Thread-safe after construction: Draw() changes nothing.
class PersonRenderer {
 public:
  explicit PersonRenderer(const Person& person);
  ~PersonRenderer();
  PersonRenderer(PersonRenderer&&) noexcept;
  PersonRenderer& operator=(PersonRenderer&&) noexcept;

  // A square picture of `size` pixels, drawn `supersampling` times larger and averaged. Both 1 or
  // more. Some ms.
  Render Draw(const FaceState& state, int size, int supersampling = 2) const;

  // Of the same picture, at the middle of each pixel.
  Truth DrawTruth(const FaceState& state, int size) const;

 private:
  struct Head;  // what does not change from frame to frame
  std::unique_ptr<const Head> head_;
};

// Where expressions show: size*size bytes, row-major, 1 in the eyes and the mouth and up to 2 % of
// the face's height around them, else 0. For weighting losses.
std::vector<uint8_t> ExpressiveMask(const Landmarks& landmarks, int size);

// columns * rows different people, each in a pose of his own clip; `size` pixels each. To look at.
Image ContactSheet(uint64_t first_seed, int columns, int rows, int size,
                   Variety variety = Variety::kPlain);

}  // namespace reenact
