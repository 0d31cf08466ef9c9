/* Pushing and pulling until nothing is left, while somebody looks on. */
#include "drain.h"

#include "handles.h"
#include "mount_flush.h"
#include "mountstate.h"
#include "session.h"

int
drain_place(const struct options *o, const struct place *p)
{
	CLEANUP(handle_free_json) json_t *answer = NULL;

	if (mountstate_get(p->mountpoint) == MOUNT_OURS)
		(void)mount_flush(p->mountpoint, MOUNT_FLUSH_MS); /* an error reaches whoever wrote */
	return session_call(o, p, json_pack("{s:s}", "op", "sync"), &answer);
}
