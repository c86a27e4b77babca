import type { Place } from '../api/schema.gen';
import { placeName } from '../model/text';

interface Props {
  place: Place | null;
  /** The operation on that line that matters, if one does. */
  op?: string;
}

/** A line of the user's program: where it stands, and what it says. */
export function Where({ place, op = '' }: Props) {
  if (!place) return <span class="muted">not known</span>;
  return (
    <div class="where">
      <span class="mono" title={`${place.file}:${place.line}`}>
        {placeName(place)}
      </span>
      {place.function && place.function !== '<module>' && (
        <span class="muted"> in {place.function}</span>
      )}
      {op && (
        <span class="muted">
          , operation <span class="mono">{op}</span>
        </span>
      )}
      {place.code && <code title={place.code}>{place.code}</code>}
    </div>
  );
}
