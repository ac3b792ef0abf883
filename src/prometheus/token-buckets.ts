import type { TokenBucket } from '../token-bucket/token-bucket.ts';
import { Living } from './living.ts';
import { type Part, total } from './metric.ts';

export function tokenBuckets(): Part {
  const buckets = new Living<TokenBucket>();
  return {
    metrics: [
      {
        type: 'gauge',
        name: 'token_bucket_available',
        help: 'Tokens that can be taken at once, of all buckets',
        read: () => total(buckets, ({ available }) => available),
      },
    ],
    listeners: {
      'holdfast:token-bucket:created': ({ bucket }: { bucket: TokenBucket }) => buckets.add(bucket, undefined),
      'holdfast:token-bucket:closed': ({ bucket }: { bucket: TokenBucket }) => buckets.delete(bucket),
    },
  };
}
