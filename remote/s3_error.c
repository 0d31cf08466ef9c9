/* s3_error.c: the codes of Amazon and of the servers that speak its protocol; for the rest the status decides. */
#include "s3_error.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#define NO_KEY "does not know this access key; check the keys, or whether they were deleted there"
#define NO_RIGHT "refuses this access key; give it the rights to read, write, list and delete in this bucket"
#define EXPIRED "says that these keys have expired; get new ones"
#define OTHER_REGION "has this bucket in another region; name that region's host, or add ?region=NAME to the address"
#define BUSY "asks to be left alone for a while"
#define TROUBLE "has trouble of its own"
#define FULL "is full; make room there, nothing is lost meanwhile"
#define CORRUPTED "received other bytes than were sent"
#define NO_CONDITION "cannot create an object only if it is absent, so devices could not share it; use another store"
#define CLOCK "finds this computer's clock wrong; set it"

static const struct {
	const char *code;
	struct s3_error means;
} known[] = {
	{"NoSuchKey", {-ENOENT, S3_REMEDY_NONE, NULL}},
	{"NoSuchBucket", {-EACCES, S3_REMEDY_NONE, "has no bucket of that name; make it there, or check the address"}},
	{"BucketAlreadyExists", {-EACCES, S3_REMEDY_NONE, "has a bucket of that name that is somebody else's; choose another"}},
	{"InvalidBucketName", {-EACCES, S3_REMEDY_NONE, "permits no bucket of that name; choose another"}},
	{"TooManyBuckets", {-EACCES, S3_REMEDY_NONE, "permits no more buckets to this account; use one that exists"}},
	{"AccessDenied", {-EACCES, S3_REMEDY_NEW_KEYS, NO_RIGHT}},
	{"InvalidAccessKeyId", {-EACCES, S3_REMEDY_NEW_KEYS, NO_KEY}},
	{"SignatureDoesNotMatch", {-EACCES, S3_REMEDY_NEW_KEYS, "says that the secret key is wrong; check the keys"}},
	{"ExpiredToken", {-EACCES, S3_REMEDY_NEW_KEYS, EXPIRED}},
	{"TokenRefreshRequired", {-EACCES, S3_REMEDY_NEW_KEYS, EXPIRED}},
	{"InvalidToken", {-EACCES, S3_REMEDY_NEW_KEYS, "does not accept the session token; get new keys"}},
	{"AccountProblem", {-EACCES, S3_REMEDY_NONE, "has closed this account; see what it wants of you"}},
	{"AllAccessDisabled", {-EACCES, S3_REMEDY_NONE, "has closed this bucket; see what it wants of you"}},
	{"UserSuspended", {-EACCES, S3_REMEDY_NONE, "has closed this account; see what it wants of you"}},
	{"InvalidObjectState", {-EACCES, S3_REMEDY_NONE, "has moved an object to an archive; restore it there"}},
	{"RequestTimeTooSkewed", {-EACCES, S3_REMEDY_SET_CLOCK, CLOCK}},
	{"RequestExpired", {-EACCES, S3_REMEDY_SET_CLOCK, CLOCK}},
	{"PermanentRedirect", {-EACCES, S3_REMEDY_NONE, OTHER_REGION}},
	{"TemporaryRedirect", {-EACCES, S3_REMEDY_NONE, OTHER_REGION}},
	{"AuthorizationHeaderMalformed", {-EACCES, S3_REMEDY_REGION, OTHER_REGION}},
	{"IllegalLocationConstraintException", {-EACCES, S3_REMEDY_NONE, OTHER_REGION}},
	{"PreconditionFailed", {-EEXIST, S3_REMEDY_NONE, NULL}},
	{"ConditionalRequestConflict", {-EAGAIN, S3_REMEDY_NONE, BUSY}},
	{"OperationAborted", {-EAGAIN, S3_REMEDY_NONE, BUSY}},
	{"SlowDown", {-EAGAIN, S3_REMEDY_NONE, BUSY}},
	{"ServerBusy", {-EAGAIN, S3_REMEDY_NONE, BUSY}},
	{"TooManyRequests", {-EAGAIN, S3_REMEDY_NONE, BUSY}},
	{"RequestLimitExceeded", {-EAGAIN, S3_REMEDY_NONE, BUSY}},
	{"ServiceUnavailable", {-EAGAIN, S3_REMEDY_NONE, TROUBLE}},
	{"InternalError", {-EAGAIN, S3_REMEDY_NONE, TROUBLE}},
	{"RequestTimeout", {-EAGAIN, S3_REMEDY_NONE, "has waited for us in vain"}},
	{"IncompleteBody", {-EAGAIN, S3_REMEDY_NONE, CORRUPTED}},
	{"BadDigest", {-EAGAIN, S3_REMEDY_NONE, CORRUPTED}},
	{"XAmzContentSHA256Mismatch", {-EAGAIN, S3_REMEDY_NONE, CORRUPTED}},
	{"InvalidRange", {-EBADMSG, S3_REMEDY_NONE, NULL}},
	{"QuotaExceeded", {-ENOSPC, S3_REMEDY_NONE, FULL}},
	{"InsufficientStorage", {-ENOSPC, S3_REMEDY_NONE, FULL}},
	{"XMinioStorageFull", {-ENOSPC, S3_REMEDY_NONE, FULL}},
	{"XMinioAdminBucketQuotaExceeded", {-ENOSPC, S3_REMEDY_NONE, FULL}},
	{"EntityTooLarge", {-EACCES, S3_REMEDY_NONE, "does not take an object of that size; use another store"}},
	{"MethodNotAllowed", {-EACCES, S3_REMEDY_NONE, "is read-only, or is no S3 service; check the address"}},
	{"NotImplemented", {-ENOTSUP, S3_REMEDY_NONE, NO_CONDITION}},
};

static struct s3_error judge_status(int status)
{
	switch (status) {
	case 301:
	case 302:
	case 303:
	case 307:
	case 308:
		return (struct s3_error){-EACCES, S3_REMEDY_NONE, OTHER_REGION};
	case 401:
	case 403:
		return (struct s3_error){-EACCES, S3_REMEDY_NEW_KEYS, NO_RIGHT};
	case 404:
	case 410:
		return (struct s3_error){-ENOENT, S3_REMEDY_NONE, NULL};
	case 409:
		return (struct s3_error){-EAGAIN, S3_REMEDY_NONE, BUSY};
	case 412:
		return (struct s3_error){-EEXIST, S3_REMEDY_NONE, NULL};
	case 416:
		return (struct s3_error){-EBADMSG, S3_REMEDY_NONE, NULL};
	case 408:
	case 425:
	case 429:
		return (struct s3_error){-EAGAIN, S3_REMEDY_NONE, BUSY};
	case 501:
		return (struct s3_error){-ENOTSUP, S3_REMEDY_NONE, NO_CONDITION};
	case 507:
		return (struct s3_error){-ENOSPC, S3_REMEDY_NONE, FULL};
	default:
		break;
	}
	if (status >= 500)
		return (struct s3_error){-EAGAIN, S3_REMEDY_NONE, TROUBLE};
	return (struct s3_error){-EBADMSG, S3_REMEDY_NONE, "gave an answer that is not understood; check the address"};
}

struct s3_error s3_error_judge(int status, const char *code)
{
	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		if (strcmp(known[i].code, code) == 0)
			return known[i].means;
	}
	return judge_status(status);
}
