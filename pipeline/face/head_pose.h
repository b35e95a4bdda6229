// Where a head is, which way it looks, and the shape of its face without either.
//
// Two frames of reference:
//  - the picture: landmarks whose three axes share one unit, x right, y down, z away from the
//    camera. Landmarks of a crop (crop.h, ToCrop) are such; those of a picture that is not square
//    are not, before ToCrop;
//  - the head: that of kCanonicalVertices. cm of an average head, x = the picture's right, y up, z
//    towards the camera, origin between the ears. A face in this frame is a HeadShape: what
//    identity and expression make of it, whatever the pose.
// The camera is a weak perspective one: picture = translation + scale * flip(rotation * head),
// where flip negates y and z.
//
// Pure functions, no state.
#pragma once

#include <array>
#include <optional>

#include "pipeline/face/landmarks.h"

namespace reenact {

struct Vector3 {
  double x = 0, y = 0, z = 0;

  Vector3& operator+=(const Vector3& o) { return x += o.x, y += o.y, z += o.z, *this; }
};

inline Vector3 operator+(const Vector3& a, const Vector3& b) {
  return {a.x + b.x, a.y + b.y, a.z + b.z};
}
inline Vector3 operator-(const Vector3& a, const Vector3& b) {
  return {a.x - b.x, a.y - b.y, a.z - b.z};
}
inline Vector3 operator*(const Vector3& a, double s) { return {a.x * s, a.y * s, a.z * s}; }
inline double Dot(const Vector3& a, const Vector3& b) { return a.x * b.x + a.y * b.y + a.z * b.z; }
double Length(const Vector3& v);

// A rotation; `w` is the real part. Of unit length.
struct Quaternion {
  double w = 1, x = 0, y = 0, z = 0;

  Quaternion Inverse() const { return {w, -x, -y, -z}; }
  Vector3 operator()(const Vector3& v) const;
};

// First `b`, then `a`.
Quaternion operator*(const Quaternion& a, const Quaternion& b);

// The angle of the rotation in radians, 0..pi.
double AngleOf(const Quaternion& rotation);

// The rotation about the same axis by `factor` times the angle.
Quaternion Scaled(const Quaternion& rotation, double factor);

// `weight` of the shortest way from `a` to `b`.
Quaternion Between(const Quaternion& a, const Quaternion& b, double weight);

// Degrees. The head turns by pitch about x first, then by yaw about y, then by roll about z.
// Positive yaw turns the nose to the picture's right, positive pitch lowers it, positive roll leans
// the crown to the picture's left.
struct HeadAngles {
  double yaw = 0, pitch = 0, roll = 0;
};

HeadAngles AnglesOf(const Quaternion& rotation);
Quaternion RotationOf(const HeadAngles& angles);

using HeadShape = std::array<Vector3, kNumLandmarks>;

// kCanonicalVertices.
const HeadShape& CanonicalShape();

struct HeadPose {
  Quaternion rotation;
  Vector3 translation;  // of the head's origin, in the picture's frame and unit
  double scale = 1;     // units of the picture per cm
};

// The pose in which `model` comes closest to `landmarks`: least squares over the parts of a face
// that move little (brow ridge, nose, temples, cheeks; lips and chin count little, irises not),
// points weighted by the surface they stand for, depth half as much as the picture's plane, points
// far off robustly less. It changes with the landmarks without jumps. Some 100 us.
//
// No value: a coordinate is not finite, or the points are not even roughly a face (all in one place
// or on a line, mirrored, scattered). Any such input is safe.
std::optional<HeadPose> FitHeadPose(const Landmarks& landmarks,
                                    const HeadShape& model = CanonicalShape());

// The two directions between picture and head; inverse of each other but for rounding. `pose.scale`
// must be positive.
HeadShape ToHead(const Landmarks& landmarks, const HeadPose& pose);
Landmarks ToPicture(const HeadShape& shape, const HeadPose& pose);

}  // namespace reenact
